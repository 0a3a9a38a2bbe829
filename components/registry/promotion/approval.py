"""Approval by a person, between the gates and the promotion. No process waits: the request is stored in the version's tags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry, new_id, now
from components.registry.promotion.contest import BY, plain
from components.registry.promotion.journal import APPROVAL, AUDIT, REQUEST, NotDone, decisions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

USER = "mlflow.user"  # tag of a run: the login name of who trained or published, as MLflow's own API sets it


def find_request(client: MlflowClient, name: str, version: int | None) -> Entry:
    """Return the open request for ``version``, or the only one; raise NotDone if there is none or it has expired."""
    requests = [entry for known in registry.versions(client, name) if (entry := waiting(known)) is not None]
    matches = [entry for entry in requests if version in (None, entry.version)]
    if version is None and len(matches) > 1:
        matches = [entry for entry in matches if not entry.expired()] or matches[-1:]
    if not matches:
        others = f"; version {', '.join(str(entry.version) for entry in requests)} does" if requests else ""
        which = "no version" if version is None else f"version {version} does not"
        raise NotDone(f"{name}: {which} wait{'s' if version is None else ''} for approval{others}")
    if len(matches) > 1:
        raise NotDone(f"{name}: versions {', '.join(str(e.version) for e in matches)} wait for approval: say which")
    (request,) = matches
    if request.expired():
        reason = f"not promoted: the request expired at {request.expires}; promote again"
        raise NotDone(f"{name}: version {request.version} is {reason}")
    return request


def waiting(version: ModelVersion) -> Entry | None:
    """Return the version's unanswered request, expired or not; None if there is none."""
    if version.tags.get(APPROVAL) != "pending":
        return None
    text = version.tags.get(f"{AUDIT}{version.tags.get(REQUEST)}")
    if text is None:
        raise NotDone(f"{version.name}: version {version.version} waits for approval of a request that is gone; promote again")
    return Entry.from_json(text)


def check_unchanged(client: MlflowClient, request: Entry, data: str | None) -> None:
    """Raise NotDone unless version, champion and data (None: not checked) are those of the request."""
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


def require_second_person(client: MlflowClient, request: Entry, by: str) -> None:
    """Raise NotDone if ``by`` trained the version or asked for its promotion, or if nobody knows who trained it.

    Names are compared without case and surrounding space. They are what people say of themselves: nothing here checks them.
    """
    version = client.get_model_version(request.name, str(request.version))
    run = registry.find_run(client, version.run_id)
    trained = run.data.tags.get(USER, "").strip() if run else ""
    which = f"{request.name}: version {request.version}"
    if not trained:
        remedy = "`approval: true` lets anybody approve"
        raise NotDone(f"{which}: its MLflow run does not say who trained it, so that no second person can be told; {remedy}")
    roles = [(entry.by, "asked for its promotion") for entry in (*decisions(version.tags), request) if entry.expires]
    for name, role in ((trained, "trained it"), *roles):
        if _same_name(name, by):
            raise NotDone(f"{which} waits for a second person (approval: {{by: other}}): {by} {role}; others say --by NAME")


def _same_name(one: str, other: str) -> bool:
    return plain(one)[:BY].strip().casefold() == plain(other)[:BY].strip().casefold()


def answer(client: MlflowClient, request: Entry, decision: Literal["approved", "rejected"], by: str, comment: str) -> Entry:
    """Return the decision that answers the request."""
    aliases, promoted = registry.aliases(client, request.name), decision == "approved"
    return replace(
        request,
        action=decision,
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
