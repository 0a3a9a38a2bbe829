"""Half-written files and folders: ``.<name>.<pid>.part``, ``.<name>.part``, which take their place by a rename when whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.core import settings
from flows.doctor.finding import Finding
from flows.doctor.locks import held_for_writing, pid_fits
from flows.project import Project

PART = re.compile(r"\..+?(?:\.(\d+))?\.part")


def half_written(project: Project) -> Iterator[Finding]:
    """Parts that nobody writes any more, below outputs/ and in the state folder."""
    held = held_for_writing(project)
    for path in (*_parts(project.folder / "outputs"), *_parts(settings.WORK)):
        match = PART.fullmatch(path.name)
        assert match
        if match[1]:  # the number of the process that writes it
            alive = path.exists() and pid_fits(int(match[1]), path.stat().st_mtime)
        else:
            alive = is_at_work(project) or any(out.parent == path.parent or out in path.parents for out in held)
        if not alive:
            yield Finding("half-written", str(path), "removes it", partial(_remove, path))


def is_at_work(project: Project) -> bool:
    """Whether a pipeline run holds the workspace; asked without taking its lock, which could turn away one that starts."""
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
