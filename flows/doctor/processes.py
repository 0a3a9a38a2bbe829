"""Processes of this workspace whose flow is gone. Every child of a flow carries the flow's identity in its environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.core import settings
from components.core.files import identity, is_gone
from flows.doctor.finding import Finding, NotMended
from flows.environment import STARTED_BY
from flows.processes import GRACE, LEASH
from flows.project import Project
from flows.running import read_state

SHORT = 100  # characters of a command line that are shown
AFTER_TERM, AFTER_KILL = 20.0, 10.0  # seconds


@dataclass(frozen=True)
class Process:
    """One of this machine's processes; ``parent``: its pid."""

    pid: int
    parent: int
    identity: str
    words: tuple[str, ...]
    environment: dict[str, str]


def orphans(project: Project) -> Iterator[Finding]:
    """Processes that a flow, or DVC, started in this workspace and that outlived it."""
    deadline = time.monotonic() + GRACE + 5.0
    while found := _orphans(project):
        # A leash is just ending what its flow has left, in order: that is no fault.
        if not any(_is_leash(process) for process in found) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for process in found:
        words = " ".join(process.words)[:SHORT]
        yield Finding("orphaned process", f"{process.pid}: {words}", "ends it: SIGTERM, then SIGKILL", partial(end, process))


def processes() -> dict[int, Process]:
    """All processes of this machine whose environment this user may read."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError, IndexError):
                found[int(folder.name)] = _read(folder)
    return found


def _read(folder: Path) -> Process:
    pid = int(folder.name)
    pairs = (pair.partition("=") for pair in (folder / "environ").read_bytes().decode(errors="replace").split("\0"))
    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return Process(pid, parent, identity(pid), tuple(words), {name: value for name, _, value in pairs})


def _orphans(project: Project) -> list[Process]:
    alive = processes()
    state = read_state()
    servers = state.supervisor if state else None
    return [
        process
        for process in alive.values()
        if process.words and process.identity != servers and (_left_by_flow(process) or _left_by_dvc(process, alive, project))
    ]


def _left_by_flow(process: Process) -> bool:
    starter, _, work = process.environment.get(STARTED_BY, "").partition(" ")
    return work == str(settings.WORK) and is_gone(starter) is True


def _left_by_dvc(process: Process, alive: dict[int, Process], project: Project) -> bool:
    """A stage of a plain ``dvc repro`` (DVC names its repository and the stage in the environment) without DVC above it."""
    if STARTED_BY in process.environment or "DVC_STAGE" not in process.environment:
        return False
    if process.environment.get("DVC_ROOT") != str(project.root):
        return False
    above = alive.get(process.parent)
    while above is not None and not any(_is_dvc(word) for word in above.words):
        above = alive.get(above.parent)
    return above is None


def _is_dvc(word: str) -> bool:
    return Path(word).name in ("dvc", "dvc_entries.py", "flows.dvc_entries") or "/dvc/" in word


def _is_leash(process: Process) -> bool:
    return str(LEASH) in process.words


def end(process: Process) -> None:
    """SIGTERM, and SIGKILL if that does not end it; each only while the pid still is that very process."""
    for number, patience in ((signal.SIGTERM, AFTER_TERM), (signal.SIGKILL, AFTER_KILL)):
        deadline = time.monotonic() + patience
        if is_gone(process.identity) is False:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        while is_gone(process.identity) is False and time.monotonic() < deadline:
            time.sleep(0.05)
    if is_gone(process.identity) is False:
        raise NotMended(f"process {process.pid} does not end")
