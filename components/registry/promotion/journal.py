"""Write-ahead journal of decisions: recorded in the registry, then carried out; any later command completes an interrupted one.

MLflow moves one alias at a time and has no compare-and-swap. So a decision becomes valid in one write, the tag ``MOVING`` of
the registered model, which holds the whole audit entry. The steps that follow are idempotent: aliases, tags, audit line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.core import settings
from components.core.files import locked
from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry, append

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOVING = "darkroom.moving"  # tag of a registered model: the decision that is being carried out
AUDIT = "darkroom.audit."  # tag of a version, with the entry's id behind it: a decision about the version
CHAMPION_SINCE = "darkroom.champion_since"  # tag of a version: when it last became the champion
RETURNED = "darkroom.returned"  # tag of a version: when and why the monitor took it back
PROMOTION = "darkroom.promotion"  # tag of a version: the last decision about it, in words
APPROVAL = "approval"  # tag of a version: pending, approved, rejected
EXPIRES = "approval.expires"
REQUEST = "approval.request"  # tag of a version: the id of the request's audit entry


class NotDone(Exception):
    """The decision cannot be made or carried out now; the message says why and what to do instead."""


@contextmanager
def deciding(name: str) -> Iterator[None]:
    """Lock the registered model: one decision at a time, on this machine."""
    with locked(settings.WORK / "locks" / f"promote-{name}"):
        yield


def decide(client: MlflowClient, entry: Entry) -> None:
    """Carry out the decision atomically. Call it inside ``deciding``, with nothing pending."""
    client.set_registered_model_tag(entry.name, MOVING, entry.to_json())
    completed = complete(client, entry.name)
    if completed is None or completed.id != entry.id:
        raise NotDone(f"{entry.name}: another machine decided at the same moment; look at the status and try again")


def complete(client: MlflowClient, name: str) -> Entry | None:
    """Complete an interrupted decision, inside ``deciding``; return its entry, or None if nothing is pending."""
    entry = pending(client, name)
    if entry is None:
        return None
    known = {int(version.version) for version in registry.versions(client, name)}
    if lost := {entry.version, entry.after, entry.previous} - known - {None}:
        raise NotDone(
            f"{name}: version {', '.join(map(str, sorted(lost, key=str)))} is gone from the registry, and a decision about it"
            f" is half done; delete the registered model's tag {MOVING} to drop that decision"
        )
    if entry.moves:
        _move(client, name, {"champion": entry.after, "previous": entry.previous})
    version = client.get_model_version(name, str(entry.version))
    registry.set_version_tags(client, version, version_tags(entry))
    if entry.action == "returned" and entry.before in known:
        left = client.get_model_version(name, str(entry.before))
        registry.set_version_tags(client, left, {RETURNED: f"at {entry.time}: {entry.comment}"})
    append(entry)
    client.delete_registered_model_tag(name, MOVING)
    return entry


def pending(client: MlflowClient, name: str) -> Entry | None:
    """Return the decision in progress or interrupted, if any; NotDone if its tag is not readable."""
    text = registry.model_tags(client, name).get(MOVING)
    if text is None:
        return None
    try:
        return Entry.from_json(text)
    except ValueError as error:
        where = f"the tag {MOVING} of the registered model {name}"
        raise NotDone(f"{where} is no decision of ours ({error}); delete it, and decide again") from None


def complete_all(client: MlflowClient) -> list[Entry]:
    """Complete the interrupted decisions about all registered models."""
    entries = []
    for model in registry.registered_models(client):
        if MOVING in model.tags:
            with deciding(model.name):
                entries.append(complete(client, model.name))
    return [entry for entry in entries if entry is not None]


def version_tags(entry: Entry) -> dict[str, str]:
    """Return the tags that record the decision on its version."""
    tags = {f"{AUDIT}{entry.id}": entry.to_json(), PROMOTION: _words(entry)}
    if entry.moves:
        tags[CHAMPION_SINCE] = entry.time
    if entry.action == "approval requested":
        tags |= {APPROVAL: "pending", EXPIRES: str(entry.expires), REQUEST: entry.id}
    if entry.action in ("approved", "rejected"):
        tags[APPROVAL] = entry.action
    return tags


def decisions(tags: dict[str, str]) -> list[Entry]:
    """Parse the decisions about a version from its tags, oldest first."""
    entries = [Entry.from_json(text) for name, text in tags.items() if name.startswith(AUDIT)]
    return sorted(entries, key=lambda entry: entry.time)


def _move(client: MlflowClient, name: str, targets: dict[str, int | None]) -> None:
    for alias, number in targets.items():
        if number is None:
            client.delete_registered_model_alias(name, alias)
        else:
            registry.set_alias(client, name, alias, number)
    current = registry.aliases(client, name)
    if any(current.get(alias) != number for alias, number in targets.items()):
        raise NotDone(f"{name}: the registry shows {current} after the move to {targets}; run the command again")


def _words(entry: Entry) -> str:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in entry.figures.items() if value is not None)
    parts = [entry.action, f"by {entry.by}", f"at {entry.time}", entry.reason, entry.comment, figures]
    return "; ".join(filter(None, parts))
