"""Which results stand on the DVC remote that clones share (``pipeline.remote``), from notes alone: the remote is not asked.

A note says which entry of dvc.lock was sent to which address. Results that were made while the remote was away, or before it
was named, have none, and are sent by the next pipeline run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import settings
from components.core.dvc_lock import LOCK
from components.core.files import write_atomically
from components.core.strict import SettingsError
from flows.project import Project

if TYPE_CHECKING:
    from dvc.repo import Repo

ENTRY = re.compile(r"^  (\S+):\n((?:(?:   .*)?\n)*)", re.MULTILINE)


def remote_address(repo: Repo, name: str | None) -> str | None:
    """The address of the remote ``name``, None for no name; SettingsError where DVC's configuration has no such remote."""
    if name is None:
        return None
    known = repo.config["remote"]
    if name not in known:
        there = f"there are: {', '.join(known)}" if known else f"`dvc remote add {name} <address>` makes it"
        raise SettingsError(f"pipeline.remote: DVC's configuration has no remote {name!r}; {there}")
    return str(known[name]["url"])


def unshared(project: Project, address: str, stages: Iterable[str]) -> tuple[str, ...]:
    """Those of the recorded ``stages`` whose results have not been sent to ``address``."""
    now = digests(project, address)
    return tuple(stage for stage in stages if stage in now and _noted(project, stage) != now[stage])


def digests(project: Project, address: str) -> dict[str, str]:
    """Stage -> a hash of its entry in dvc.lock and the address."""
    lock = project.folder / LOCK
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    return {name: hashlib.sha256(f"{address}\n{body}".encode()).hexdigest() for name, body in ENTRY.findall(text)}


def note_shared(project: Project, stage: str, digest: str) -> None:
    """Remember that the results with ``digest`` were sent."""
    path = _note(project, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, digest.encode())


def _noted(project: Project, stage: str) -> str | None:
    path = _note(project, stage)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _note(project: Project, stage: str) -> Path:
    return settings.WORK / "shared" / (project.study or "root") / stage
