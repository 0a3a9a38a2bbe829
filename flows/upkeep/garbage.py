"""Garbage collection: ``collect`` yields what may be removed, in order; the rest finds leftovers of the state folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.dvc_lock import LOCK
from components.core.settings import PARAMS, Workspace
from flows.project import AnotherRun, Project
from flows.upkeep.processes import alive, holds

DAY = 86400.0  # seconds
BY_RUN = ("latency/*.json", "live/*.json", "published/*.json")  # file names are registered names
BY_AGE = (
    "scores/*/*",
    "logs/*.old.log",
    "aside/*",
    "shared/*/*",
    "monitor/*/reports/*",
    "reports/compare-*",
    "parsed/*",
    "traffic/*/*",
)  # regenerated if needed, or only for inspection


@dataclass(frozen=True)
class Garbage:
    """An item to remove: ``what`` it is, ``size`` in bytes (0 if unknown), ``why`` it is unused."""

    what: str
    size: int
    why: str
    remove: Callable[[], object]


@contextmanager
def exclusive_access(project: Project) -> Iterator[None]:
    """Lock out pipeline runs of all workspaces and DVC; raise AnotherRun if one is running.

    What a running stage has put into the cache is in no dvc.lock yet.
    """
    from dvc.repo import Repo, lock_repo

    studies = sorted(path.parent.name for path in project.root.glob(f"experiments/*/{PARAMS}"))
    with ExitStack() as stack:
        for study in (None, *studies):
            stack.enter_context(Project(project.root, study).alone())
        stack.enter_context(lock_repo(stack.enter_context(Repo(str(project.root), _wait_for_lock=True))))
        file = project.root / ".dvc" / "tmp" / "rwlock"
        for hold in holds(file):
            if alive(hold, file):
                raise AnotherRun(f"DVC (process {hold.pid}: {hold.command}) is at work in {project.root}")
        yield


def collect(project: Project, days: float) -> Iterator[Garbage]:
    """Yield garbage older than ``days``. TrackingUnavailable if the server cannot be asked for the registered versions."""
    from flows.upkeep.cache import is_shared, unused_cache
    from flows.upkeep.tracking import has_server, lineage_hashes, unreferenced

    yield from leftovers(project, days)
    lineages, unknown = set[str](), list[str]()
    if has_server():
        from components.registry.tracking import connect, reachable

        with reachable():
            client = connect()
            records = list(unreferenced(client, days))
            lineages, unknown = lineage_hashes(client)
        yield from records
    if (place := is_shared(project)) is not None:
        text = f"(DVC's cache {place} is shared with other clones, and is left as it is)"
        yield Garbage(text, 0, "not examined", lambda: None)
        return
    if unknown:
        versions = ", ".join(unknown[:3])
        text = f"(DVC's cache is left as it is: what {versions} came from is not known, since the MLflow run is gone)"
        yield Garbage(text, 0, "delete the version in the registry, if it is not needed", lambda: None)
        return
    yield from unused_cache(project, days, lineages)


def leftovers(project: Project, days: float) -> Iterator[Garbage]:
    """Yield checkpoints, then small files, older than ``days``."""
    names = registered_names(project.root)
    yield from _checkpoints(names, days)
    for pattern in BY_RUN:
        for path in sorted(settings.WORK.glob(pattern)):
            if names is not None and path.stem not in names and age(path) > days:
                yield _garbage(path, "its run is no longer in params.yaml")
    for folder in sorted((settings.WORK / "reports").glob("*")):
        if names is not None and folder.name not in names and not folder.name.startswith("compare-") and age(folder) > days:
            yield _garbage(folder, "its run is no longer in params.yaml")
    yield from _listings(project.root, days)
    for pattern in BY_AGE:
        for path in sorted(settings.WORK.glob(pattern)):
            if age(path) > days:
                yield _garbage(path, f"older than {days:g} days")


def _listings(root: Path, days: float) -> Iterator[Garbage]:
    """Yield what folders held that no dvc.lock names any more: the others tell a plan what has changed since."""
    locks = [root / LOCK, *sorted(root.glob(f"experiments/*/{LOCK}"))]
    named = "".join(path.read_text(encoding="utf-8", errors="replace") for path in locks if path.is_file())
    for path in sorted((settings.WORK / "listings").glob("*.json")):
        if path.stem not in named and age(path) > days:
            yield _garbage(path, f"no dvc.lock names this folder, older than {days:g} days")


def _checkpoints(names: set[str] | None, days: float) -> Iterator[Garbage]:
    """Yield old checkpoints, except the newest folder of an existing run, from which an unfinished training resumes."""
    for folder in sorted((settings.WORK / "checkpoints").glob("train@*")):
        exists = names is None or folder.name.removeprefix("train@") in names
        states = sorted((path for path in folder.iterdir() if path.is_dir()), key=age)
        why = "of other settings than the last training's" if exists else "its run is no longer in params.yaml"
        yield from (_garbage(path, why) for path in states[1 if exists else 0 :] if age(path) > days)


def _garbage(path: Path, why: str) -> Garbage:
    return Garbage(str(path.relative_to(settings.WORK.parent)), size_of(path), why, partial(remove, path))


def registered_names(root: Path) -> set[str] | None:
    """Return the registered names of all runs of the root and the studies; None if a params.yaml cannot be read."""
    names = set()
    for params in (root / PARAMS, *sorted(root.glob(f"experiments/*/{PARAMS}"))):
        workspace = Workspace(params.parent)
        try:
            names |= {workspace.registered_name(run) for run in workspace.params.runs}
        except SettingsError:
            return None  # its runs are unknown, so none may be removed
    return names


def size_of(path: Path) -> int:
    """Return the bytes of the file, or of all files below the folder; 0 if there is nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def age(path: Path) -> float:
    """Return the days since the last change of the file, or of any file below the folder."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return (time.time() - max(file.lstat().st_mtime for file in files)) / DAY


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
