"""A person's word between the gates and the promotion. No process waits for it: the request stands in the version's tags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry, new_id, now
from components.registry.promotion.contest import BY, plain
from components.registry.promotion.journal import APPROVAL, AUDIT, REQUEST, NotDone

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def find_request(client: MlflowClient, name: str, version: int | None) -> Entry:
    """The request that waits for a word, of ``version`` or of the only one; NotDone where there is none or it has expired."""
    found = [entry for known in registry.versions(client, name) if (entry := waiting(known)) is not None]
    wanted = [entry for entry in found if version in (None, entry.version)]
    if version is None and len(wanted) > 1:
        wanted = [entry for entry in wanted if not entry.expired()] or wanted[-1:]
    if not wanted:
        told = f"; version {', '.join(str(entry.version) for entry in found)} does" if found else ""
        which = "no version" if version is None else f"version {version} does not"
        raise NotDone(f"{name}: {which} wait{'s' if version is None else ''} for approval{told}")
    if len(wanted) > 1:
        raise NotDone(f"{name}: versions {', '.join(str(e.version) for e in wanted)} wait for approval: say which")
    (request,) = wanted
    if request.expired():
        told = f"not promoted: the request expired at {request.expires}; promote again"
        raise NotDone(f"{name}: version {request.version} is {told}")
    return request


def waiting(version: ModelVersion) -> Entry | None:
    """The version's request that nobody has answered, whether or not it has expired."""
    if version.tags.get(APPROVAL) != "pending":
        return None
    text = version.tags.get(f"{AUDIT}{version.tags.get(REQUEST)}")
    if text is None:
        raise NotDone(f"{version.name}: version {version.version} waits for approval of a request that is gone; promote again")
    return Entry.from_json(text)


def check_unchanged(client: MlflowClient, request: Entry, data: str | None) -> None:
    """NotDone unless version, champion and data (None: not asked) are those that the request was made for."""
    aliases = registry.aliases(client, request.name)
    changes = []
    if aliases.get("candidate") != request.version:
        changes.append(f"the candidate is version {aliases.get('candidate')}")
    if aliases.get("champion") != request.before:
        changes.append(f"the champion is {_numbered(aliases.get('champion'))}, it was {_numbered(request.before)}")
    if data is not None and data != request.data:
        changes.append("the evaluation data or the metric code are not those of the scores")
    if changes:
        raise NotDone(f"{request.name}: version {request.version} is not promoted: {'; '.join(changes)}; promote again")


def answer(client: MlflowClient, request: Entry, word: Literal["approved", "rejected"], by: str, comment: str) -> Entry:
    """The decision that a person's word makes of the request."""
    aliases, promoted = registry.aliases(client, request.name), word == "approved"
    return replace(
        request,
        action=word,
        by=plain(by)[:BY],
        comment=plain(comment),
        before=aliases.get("champion"),
        after=request.version if promoted else aliases.get("champion"),
        previous=aliases.get("champion") if promoted else aliases.get("previous"),
        expires=None,
        request=request.id,
        time=now().isoformat(),
        id=new_id(),
    )


def _numbered(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
