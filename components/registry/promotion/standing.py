"""Status of a run's registered model: champion, candidate, previous, open requests. Changes nothing in the registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.promotion.approval import waiting
from components.registry.promotion.audit import BACK
from components.registry.promotion.foreign import deleted_run, foreign_moves, last_move, note
from components.registry.promotion.journal import CHAMPION_SINCE, MOVING, PROMOTION, NotDone, decisions, pending

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SHORT = 8  # digits of a digest


@dataclass(frozen=True)
class Standing:
    """Status of a registered model. Version numbers are None if no version has the alias.

    ``metric``: name and value of the champion's main metric. ``notes``: lines for the user, one per issue.
    """

    name: str
    candidate: int | None = None
    champion: int | None = None
    previous: int | None = None
    since: str = ""
    data: str = ""
    commit: str = ""
    metric: str = ""
    notes: list[str] = field(default_factory=list)


def standing(client: MlflowClient, workspace: Workspace, run: str) -> Standing:
    """Return the status of the run's model; all None if nothing is registered."""
    name = workspace.registered_name(run)
    aliases = registry.aliases(client, name)
    known = {int(version.version): version for version in registry.versions(client, name)}
    notes = [
        *_interrupted(client, name),
        *_notes(known, aliases),
        *_watched(workspace, run, known.values()),
        *_foreign(client, known, aliases, name),
    ]
    result = Standing(name, aliases.get("candidate"), aliases.get("champion"), aliases.get("previous"), notes=notes)
    champion = known.get(result.champion or 0)
    if champion is None:
        return result
    record = registry.find_run(client, champion.run_id)
    tags = record.data.tags if record else {}
    dirty = "+" if tags.get("darkroom.git_dirty") == "true" else ""
    return replace(
        result,
        since=champion.tags.get(CHAMPION_SINCE, "")[:16].replace("T", " "),
        data=tags.get("darkroom.view_digest", "")[:SHORT],
        commit=tags.get("mlflow.source.git.commit", "")[:SHORT] + dirty,
        metric=_metric(champion, workspace, run),
    )


def _watched(workspace: Workspace, run: str, versions: Iterable[ModelVersion]) -> list[str]:
    last, hours = last_move(versions), workspace.gates(run).watch_hours
    if last is None or last.action in BACK or last.before is None or last.age() >= hours:
        return []
    return [f"{last.name}: version {last.after} is watched until {last.later(hours)} and returned if it does worse in service"]


def _metric(version: ModelVersion, workspace: Workspace, run: str) -> str:
    """Format the metric of the gates, else the first, as measured when the version was published."""
    figures = {name.removeprefix("metric."): text for name, text in version.tags.items() if name.startswith("metric.")}
    metric = workspace.gates(run).metric
    main = metric if metric in figures else min(figures, default=None)
    return f"{main} {figures[main]}" if main else ""


def _interrupted(client: MlflowClient, name: str) -> list[str]:
    try:
        entry = pending(client, name)
    except NotDone as error:
        return [str(error)]
    if entry is None:
        return []
    return [
        f"{name}: a decision about version {entry.version} ({entry.action}) is half done; the next command about it ends it"
    ]


def _foreign(client: MlflowClient, known: dict[int, ModelVersion], aliases: dict[str, int], name: str) -> list[str]:
    """Describe what others did: aliases moved or deleted, the champion's run deleted."""
    moves = [] if MOVING in registry.model_tags(client, name) else foreign_moves(name, known.values(), aliases)
    note(moves)
    notes = [str(move) for move in moves]
    champion = known.get(aliases.get("champion", 0))
    if champion is not None and deleted_run(client, champion):
        notes.append(f"{name}: the MLflow run of the champion, version {champion.version}, was deleted")
    return [f"{note}; `python -m flows doctor --fix` restores what was deleted" for note in notes]


def _notes(known: dict[int, ModelVersion], aliases: dict[str, int]) -> list[str]:
    """Describe open requests, why the candidate is not the champion, and who rolled back and why."""
    notes, candidate = [], aliases.get("candidate")
    for number, version in known.items():
        try:
            request = waiting(version)
        except NotDone as error:
            notes.append(str(error))
            continue
        if request is not None and not request.expired():
            notes.append(f"{version.name}: version {number} waits for approval until {request.expires}")
        elif request is not None and number == candidate:
            reason = f"not promoted: the request for approval expired at {request.expires}"
            notes.append(f"{version.name}: version {number} is {reason}")
        elif number == aliases.get("champion") and (rollback := _rollback(version)):
            notes.append(f"{version.name}: version {number} is back: {rollback}")
        elif number == candidate != aliases.get("champion") and request is None and not _was_champion(version):
            notes += [f"{version.name}: version {number}: {version.tags[PROMOTION]}"] if PROMOTION in version.tags else []
    return notes


def _rollback(version: ModelVersion) -> str:
    """Describe the rollback that made the version champion again; empty if it was promoted."""
    last = next((entry for entry in reversed(decisions(version.tags)) if entry.moves), None)
    if last is None or last.action not in BACK:
        return ""
    return f"{last.action} from version {last.before} by {last.by} at {last.time}" + (
        f": {last.comment}" if last.comment else ""
    )


def _was_champion(version: ModelVersion) -> bool:
    history = decisions(version.tags)
    return bool(history) and history[-1].moves
