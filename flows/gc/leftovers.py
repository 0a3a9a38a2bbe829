"""Files of the state folder: checkpoints of trainings that are over, notes and scores of runs that are no more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.core import settings
from components.core.settings import PARAMS, Workspace
from components.core.strict import SettingsError
from flows.gc.waste import Waste, age, remove, size_of
from flows.project import Project

BY_RUN = ("latency/*.json", "live/*.json", "published/*.json")  # named by the registered name
BY_AGE = (
    "scores/*/*",
    "logs/*.old.log",
    "aside/*",
    "shared/*/*",
    "monitor/*/reports/*",
)  # made again when missed, or kept for a person to look at


def leftovers(project: Project, days: float) -> Iterator[Waste]:
    """Checkpoints first, then the small things; each older than ``days``."""
    names = registered_names(project.root)
    yield from _checkpoints(names, days)
    for pattern in BY_RUN:
        for path in sorted(settings.WORK.glob(pattern)):
            if names is not None and path.stem not in names and age(path) > days:
                yield _waste(path, "its run is no longer in params.yaml")
    for pattern in BY_AGE:
        for path in sorted(settings.WORK.glob(pattern)):
            if age(path) > days:
                yield _waste(path, f"older than {days:g} days")


def _checkpoints(names: set[str] | None, days: float) -> Iterator[Waste]:
    """Of a run that exists the newest folder stays: what an unfinished training goes on from. A finished one has none."""
    for folder in sorted((settings.WORK / "checkpoints").glob("train@*")):
        exists = names is None or folder.name.removeprefix("train@") in names
        states = sorted((path for path in folder.iterdir() if path.is_dir()), key=age)
        why = "of other settings than the last training's" if exists else "its run is no longer in params.yaml"
        yield from (_waste(path, why) for path in states[1 if exists else 0 :] if age(path) > days)


def _waste(path: Path, why: str) -> Waste:
    return Waste(str(path.relative_to(settings.WORK.parent)), size_of(path), why, partial(remove, path))


def registered_names(root: Path) -> set[str] | None:
    """The registered name of every run of the root and of all studies; None where a params.yaml cannot be read."""
    found = set()
    for params in (root / PARAMS, *sorted(root.glob(f"experiments/*/{PARAMS}"))):
        workspace = Workspace(params.parent)
        try:
            found |= {workspace.registered_name(run) for run in workspace.params.runs}
        except SettingsError:
            return None  # its runs are unknown, so none may be called gone
    return found
