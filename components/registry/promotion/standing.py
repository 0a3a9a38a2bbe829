"""Where a run's registered model stands: champion, candidate, previous, what waits for a word. Reads, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.promotion.approval import waiting
from components.registry.promotion.journal import CHAMPION_SINCE, PROMOTION, NotDone, decisions, pending

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SHORT = 8  # digits of a digest


@dataclass(frozen=True)
class Standing:
    """Version numbers are None where no version has the alias. ``metric``: name and value of the champion's main figure.

    ``notes``: what a person should know or do, a line each.
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
    """Of the run; all None where nothing is registered."""
    name = workspace.registered_name(run)
    aliases = registry.aliases(client, name)
    known = {int(version.version): version for version in registry.versions(client, name)}
    notes = [*_half_done(client, name), *_words(known, aliases)]
    found = Standing(name, aliases.get("candidate"), aliases.get("champion"), aliases.get("previous"), notes=notes)
    champion = known.get(found.champion or 0)
    if champion is None:
        return found
    record = registry.find_run(client, champion.run_id)
    tags = record.data.tags if record else {}
    dirty = "+" if tags.get("darkroom.git_dirty") == "true" else ""
    return replace(
        found,
        since=champion.tags.get(CHAMPION_SINCE, "")[:16].replace("T", " "),
        data=tags.get("darkroom.view_digest", "")[:SHORT],
        commit=tags.get("mlflow.source.git.commit", "")[:SHORT] + dirty,
        metric=_metric(champion, workspace, run),
    )


def _metric(version: ModelVersion, workspace: Workspace, run: str) -> str:
    """The metric that the gates judge by, else the first; as measured when it was published."""
    figures = {name.removeprefix("metric."): text for name, text in version.tags.items() if name.startswith("metric.")}
    wanted = workspace.gates(run).metric
    main = wanted if wanted in figures else min(figures, default=None)
    return f"{main} {figures[main]}" if main else ""


def _half_done(client: MlflowClient, name: str) -> list[str]:
    try:
        entry = pending(client, name)
    except NotDone as error:
        return [str(error)]
    if entry is None:
        return []
    return [
        f"{name}: a decision about version {entry.version} ({entry.action}) is half done; the next command about it ends it"
    ]


def _words(known: dict[int, ModelVersion], aliases: dict[str, int]) -> list[str]:
    """Requests that nobody has answered, why the candidate is not the champion, and of a rollback who and why."""
    found, candidate = [], aliases.get("candidate")
    for number, version in known.items():
        try:
            request = waiting(version)
        except NotDone as error:
            found.append(str(error))
            continue
        if request is not None and not request.expired():
            found.append(f"{version.name}: version {number} waits for approval until {request.expires}")
        elif request is not None and number == candidate:
            told = f"not promoted: the request for approval expired at {request.expires}"
            found.append(f"{version.name}: version {number} is {told}")
        elif number == aliases.get("champion") and (back := _came_back(version)):
            found.append(f"{version.name}: version {number} is back: {back}")
        elif number == candidate != aliases.get("champion") and request is None and not _was_champion(version):
            found += [f"{version.name}: version {number}: {version.tags[PROMOTION]}"] if PROMOTION in version.tags else []
    return found


def _came_back(version: ModelVersion) -> str:
    """By whom, when and why the version was made champion again; empty where it came by a promotion."""
    last = next((entry for entry in reversed(decisions(version.tags)) if entry.moves), None)
    if last is None or last.action != "rolled back":
        return ""
    return f"rolled back from version {last.before} by {last.by} at {last.time}" + (f": {last.comment}" if last.comment else "")


def _was_champion(version: ModelVersion) -> bool:
    made = decisions(version.tags)
    return bool(made) and made[-1].moves
