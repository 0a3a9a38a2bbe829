"""What others did to a registered model: aliases moved or deleted without a decision, and runs deleted below a version.

Every decision that moves the champion stays with its version as a tag, so the last one tells where the aliases belong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.registry import model_registry as registry
from components.registry.promotion.audit import Entry, append, entries
from components.registry.promotion.journal import MOVING, NotDone, decisions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class ForeignMove:
    """An alias that is not where the last decision put it. ``actual``: None if it was deleted; ``decision``: id of that one."""

    name: str
    alias: str
    expected: int
    actual: int | None
    decision: str = ""

    def __str__(self) -> str:
        what = "deleted" if self.actual is None else f"moved to version {self.actual}"
        return f"{self.name}: the alias {self.alias} of version {self.expected} was {what} without a decision"


def last_move(versions: Iterable[ModelVersion]) -> Entry | None:
    """Return the last decision that moved the champion; None if there was none.

    Of several within one second, the resolution of their times, it is the one that no other of them starts from.
    """
    moves = [entry for version in versions for entry in decisions(version.tags) if entry.moves]
    latest = [entry for entry in moves if entry.time == max(move.time for move in moves)]
    starts = {entry.before for entry in latest}
    return next((entry for entry in latest if entry.after not in starts), latest[-1] if latest else None)


def foreign_moves(name: str, versions: Iterable[ModelVersion], aliases: Mapping[str, int]) -> list[ForeignMove]:
    """Compare the aliases with the last decision. Versions that no longer exist are not expected anywhere."""
    known = list(versions)
    last = last_move(known)
    if last is None:
        return []
    numbers = {int(version.version) for version in known}
    expected = {"champion": last.after, "previous": last.previous}
    return [
        ForeignMove(name, alias, number, aliases.get(alias), last.id)
        for alias, number in expected.items()
        if number in numbers and number is not None and aliases.get(alias) != number
    ]


def note(moves: Iterable[ForeignMove]) -> None:
    """Add the moves to the audit log, each once, with the time at which they were found: nobody knows when they were made."""
    for move in moves:
        text = f"{move.decision} {move.alias} {move.actual}"
        append(
            Entry(
                action="foreign move",
                name=move.name,
                version=move.actual or move.expected,
                by="unknown",
                comment=str(move),
                before=move.expected,
                after=move.actual,
                previous=None,
                id=hashlib.sha256(text.encode()).hexdigest()[:32],
            )
        )


def noted(name: str, version: int) -> list[Entry]:
    """Return the foreign moves in this machine's audit log that concern the version."""
    found = [entry for entry in entries(name) if entry.action == "foreign move"]
    return [entry for entry in found if version in (entry.before, entry.after)]


def require_champion(client: MlflowClient, name: str) -> None:
    """Raise NotDone if the alias of the champion was deleted: without it a candidate would be compared with nothing."""
    aliases = registry.aliases(client, name)
    if "champion" in aliases:
        return
    for move in foreign_moves(name, registry.versions(client, name), aliases):
        if move.alias == "champion":
            raise NotDone(f"{move}; `python -m flows doctor --fix` puts it back")


def all_foreign_moves(client: MlflowClient) -> Iterator[ForeignMove]:
    """Yield the foreign moves of all registered models without a decision in progress."""
    for model in registry.registered_models(client):
        if MOVING not in model.tags:
            aliases = {alias: int(number) for alias, number in model.aliases.items()}
            yield from foreign_moves(model.name, registry.versions(client, model.name), aliases)


def put_back(client: MlflowClient, move: ForeignMove) -> None:
    """Set a deleted alias again, unless somebody else has meanwhile."""
    if registry.aliases(client, move.name).get(move.alias) is None:
        registry.set_alias(client, move.name, move.alias, move.expected)


def deleted_run(client: MlflowClient, version: ModelVersion) -> str | None:
    """Return the id of the version's MLflow run if it was deleted and can be restored, else None."""
    run = registry.find_run(client, version.run_id)
    return str(version.run_id) if run is not None and run.info.lifecycle_stage == "deleted" else None


def deleted_runs(client: MlflowClient) -> Iterator[tuple[ModelVersion, str, str]]:
    """Yield (version, its aliases in words, id of its deleted run) for every version with an alias."""
    for model in registry.registered_models(client):
        names: dict[int, list[str]] = {}
        for alias, number in sorted(model.aliases.items()):
            names.setdefault(int(number), []).append(alias)
        for version in registry.versions(client, model.name):
            standing = names.get(int(version.version))
            if standing and (run_id := deleted_run(client, version)):
                yield version, ", ".join(standing), run_id
