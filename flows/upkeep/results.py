"""Results that differ from dvc.lock, half-written outputs, and a truncated dvc.lock.

Bare ``dvc repro`` empties dvc.lock and rewrites it to record a stage, and may be killed meanwhile; the flow's DVC
(``flows.dvc.entries``) writes it atomically. Parts of outputs are named ``.<name>.<pid>.part`` or ``.<name>.part``.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import settings
from components.core.dvc_lock import LOCK, join
from components.core.inputs import lock
from components.registry.record.dvc_lock import shared_dvc_lock
from flows.dvc.entries import loads, readable, write_lock
from flows.dvc.lock_merge import NEITHER, conflicts
from flows.project import Project
from flows.upkeep.doctor import Finding
from flows.upkeep.processes import held_for_writing, pid_fits

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import PipelineStage


PART = re.compile(r"\..+?(?:\.(\d+))?\.part")


def wrong_inputs(project: Project) -> Iterator[Finding]:
    """Find entries with inputs that their stage did not run with: something was edited while bare ``dvc repro`` ran it.

    Entries in a merge conflict are cut, and left to the user.
    """
    path = project.folder / LOCK
    if path.is_file() and conflicts(path.read_text(encoding="utf-8", errors="replace")):
        return
    for name in lock.wrong_entries(project.folder):
        remedy = "removes the entry; the next run makes the stage again"
        repair = partial(lock.forget, project.folder, [name])
        yield Finding(f"{LOCK} has inputs that the stage did not run with", name, remedy, repair)


def differing_results(project: Project) -> Iterator[Finding]:
    """Find outs that differ from dvc.lock, unless their stage is stale anyway or running.

    A run, view or dataset without any output here is not missing: dvc.lock also records the results of other clones.
    """
    if not (project.folder / "dvc.lock").is_file() or is_held(project):
        return
    busy = held_for_writing(project)
    with _stages(project) as (_, stages):
        here = {_block(stage) for stage in stages if any(out.exists for out in stage.outs)}
        for stage in stages:
            changed = [out for out in stage.outs if out.hash_info and out.status()] if _block(stage) in here else []
            if changed and not _is_stale(stage):
                for out in changed:
                    if Path(out.fs_path) not in busy and (out.exists or not out.changed_cache()):
                        yield _finding(project, stage, out)


@contextmanager
def _stages(project: Project) -> Iterator[tuple[Repo, list[PipelineStage]]]:
    logging.getLogger("dvc").setLevel(logging.ERROR)
    from dvc.repo import Repo
    from dvc.repo.index import Index

    with Repo(str(project.root), _wait_for_lock=True) as repo:
        yield repo, sorted(Index.from_file(repo, str(project.folder / "dvc.yaml")).stages, key=lambda stage: stage.name)


def _block(stage: PipelineStage) -> str:
    """Return the block of a stage, ``digits`` of ``train@digits``."""
    return str(stage.name).partition("@")[2]


def _is_stale(stage: PipelineStage) -> bool:
    return any(dep.status() for dep in stage.deps) or any(not out.hash_info for out in stage.outs)


def _finding(project: Project, stage: PipelineStage, out: Output) -> Finding:
    path = Path(out.fs_path)
    repair = partial(_repair, project, stage.name, path)
    if not out.workspace_status():
        return Finding("result is not in DVC's cache", str(path), "puts it there", repair)
    if out.changed_cache():
        what, where = "result differs from dvc.lock", f"{path}; DVC's cache does not have the right one"
        return Finding(what, where, f"`dvc pull {path}`, or `python -m flows run`, which runs {stage.name} again")
    if not path.exists():
        return Finding("result is missing", str(path), "restores it from DVC's cache", repair)
    remedy = f"restores it from DVC's cache; what is there now goes to {aside()}"
    return Finding("result differs from dvc.lock", str(path), remedy, repair)


def aside() -> Path:
    """Return the folder for replaced results, which ``gc`` removes when they are old."""
    return settings.WORK / "aside"


def _repair(project: Project, name: str, path: Path) -> None:
    """Add the out to the cache, or restore it from the cache, under DVC's lock."""
    from dvc.repo import lock_repo

    with _stages(project) as (repo, stages), lock_repo(repo):
        (out,) = (out for stage in stages if stage.name == name for out in stage.outs if Path(out.fs_path) == path)
        if not out.workspace_status():
            out.commit()
            return
        if path.exists():
            place = aside() / time.strftime("%Y%m%d-%H%M%S") / path.relative_to(project.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        out.checkout(force=True)


def half_written(project: Project) -> Iterator[Finding]:
    """Find abandoned parts below outputs/ and in the state folder."""
    busy = held_for_writing(project)
    for path in (*_parts(project.folder / "outputs"), *_parts(settings.WORK)):
        match = PART.fullmatch(path.name)
        assert match
        if match[1]:  # pid of the writing process
            alive = path.exists() and pid_fits(int(match[1]), path.stat().st_mtime)
        else:
            alive = is_held(project) or any(out.parent == path.parent or out in path.parents for out in busy)
        if not alive:
            yield Finding("half-written", str(path), "removes it", partial(_remove, path))


def is_held(project: Project) -> bool:
    """Whether a pipeline run holds the workspace, without taking its lock, which could make a starting run fail."""
    path = project.lock_file()
    pid = path.read_text().strip() if path.is_file() else ""
    return pid.isdigit() and pid_fits(int(pid), path.stat().st_mtime)


def _parts(top: Path) -> list[Path]:
    return sorted(path for path in top.rglob(".*.part") if PART.fullmatch(path.name)) if top.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cut_off(project: Project) -> Iterator[Finding]:
    """Find a dvc.lock that DVC cannot read; the repair keeps its valid entries. A merge conflict is left to the user."""
    path = project.folder / LOCK
    if not path.is_file():
        return
    with shared_dvc_lock(project.folder):
        text = path.read_text(encoding="utf-8", errors="replace")
    if loads(text):
        return
    stages = conflicts(text)
    if stages:  # only the user knows which version fits the merged code and settings
        remedy = f"keep one version of each entry and remove the markers, {NEITHER}"
        yield Finding(f"merge conflict in {LOCK}", f"{path}: {', '.join(stages)}", remedy)
        return
    whole = readable(text)
    remedy = f"keeps the {len(whole)} valid entries; the results of the others are restored from DVC's run cache"
    yield Finding(f"{LOCK} cannot be read", str(path), remedy, partial(_keep_whole, project))


def _keep_whole(project: Project) -> None:
    from dvc.repo import Repo, lock_repo

    path = project.folder / LOCK
    with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
        whole = readable(path.read_text(encoding="utf-8", errors="replace"))
        if whole:
            write_lock(path, join(whole), Path(repo.tmp_dir))
        else:
            path.unlink()
