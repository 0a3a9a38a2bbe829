"""Orphaned processes of dead flows, and DVC's file locks of dead processes.

Every child of a flow has the flow's identity in its environment. DVC's file locks are entries of ``.dvc/tmp/rwlock``; DVC only
checks whether the pid exists. Its other lock, ``.dvc/tmp/lock``, is a kernel lock, which ends with its holder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from components.core import settings
from components.core.files import identity, is_gone, start_time, write_text
from flows.processes import GRACE, GUARD
from flows.project import STARTED_BY, Project
from flows.services.running import read_state
from flows.upkeep.doctor import Finding, RepairFailed

SHORT = 100  # characters of a command line that are shown
AFTER_TERM, AFTER_KILL = 20.0, 10.0  # seconds

Lock = dict[str, Any]


@dataclass(frozen=True)
class RunningProcess:
    """A process of this machine; ``parent``: pid of its parent."""

    pid: int
    parent: int
    identity: str
    words: tuple[str, ...]
    environment: dict[str, str]


def orphans(project: Project) -> Iterator[Finding]:
    """Find processes in this workspace that outlived the flow or DVC that started them."""
    deadline = time.monotonic() + GRACE + 5.0
    while orphaned := _orphans(project):
        # A process guard that is ending the children of its flow is no fault.
        if not any(_is_guard(process) for process in orphaned) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for process in orphaned:
        words = " ".join(process.words)[:SHORT]
        yield Finding("orphaned process", f"{process.pid}: {words}", "ends it: SIGTERM, then SIGKILL", partial(end, process))


def processes() -> dict[int, RunningProcess]:
    """Return pid -> process, of all other processes whose environment this user may read."""
    readable = {}
    for process in psutil.process_iter():
        if process.pid != os.getpid():
            with contextlib.suppress(psutil.Error):
                readable[process.pid] = RunningProcess(
                    process.pid, process.ppid(), identity(process.pid), tuple(process.cmdline()), process.environ()
                )
    return readable


def _orphans(project: Project) -> list[RunningProcess]:
    alive = processes()
    state = read_state()
    servers = state.supervisor if state else None
    return [
        process
        for process in alive.values()
        if process.words and process.identity != servers and (_left_by_flow(process) or _left_by_dvc(process, alive, project))
    ]


def _left_by_flow(process: RunningProcess) -> bool:
    starter, _, work = process.environment.get(STARTED_BY, "").partition(" ")
    return work == str(settings.WORK) and is_gone(starter) is True


def _left_by_dvc(process: RunningProcess, alive: dict[int, RunningProcess], project: Project) -> bool:
    """Whether it is a stage of bare ``dvc repro``, by the environment that DVC sets, without DVC among its ancestors."""
    if STARTED_BY in process.environment or "DVC_STAGE" not in process.environment:
        return False
    if process.environment.get("DVC_ROOT") != str(project.root):
        return False
    above = alive.get(process.parent)
    while above is not None and not any(_is_dvc(word) for word in above.words):
        above = alive.get(above.parent)
    return above is None


def _is_dvc(word: str) -> bool:
    return Path(word).name == "dvc" or "/dvc/" in word or word in ("dvc", "flows.dvc.entries")


def _is_guard(process: RunningProcess) -> bool:
    return str(GUARD) in process.words


def end(process: RunningProcess) -> None:
    """Send SIGTERM, then SIGKILL if it does not end; never to another process with the same pid."""
    for number, patience in ((signal.SIGTERM, AFTER_TERM), (signal.SIGKILL, AFTER_KILL)):
        deadline = time.monotonic() + patience
        if is_gone(process.identity) is False:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        while is_gone(process.identity) is False and time.monotonic() < deadline:
            time.sleep(0.05)
    if is_gone(process.identity) is False:
        raise RepairFailed(f"process {process.pid} does not end")


@dataclass(frozen=True)
class Hold:
    """An entry of DVC's rwlock: process ``pid``, which ran ``command``, holds ``path`` for "read" or "write"."""

    mode: str
    path: str
    pid: int
    command: str


def stale_locks(project: Project) -> Iterator[Finding]:
    """Find entries whose process is gone or whose pid was reused, and a damaged file."""
    file = project.root / ".dvc" / "tmp" / "rwlock"
    try:
        entries = holds(file)
    except ValueError as error:
        yield Finding("DVC's lock file cannot be read", f"{file}: {error}", "writes an empty one", partial(_rewrite, file))
        return
    for hold in entries:
        if not alive(hold, file):
            words = f"{hold.path}: process {hold.pid} ({hold.command}), which is gone, has it for {hold.mode}"
            yield Finding("stale DVC lock", words, "removes the entry", partial(_rewrite, file))


def repair_locks(project: Project) -> list[str]:
    """Remove what dead processes left in DVC's lock file, without which DVC does not start; return a line per repair."""
    lines = []
    for finding in stale_locks(project):
        assert finding.repair is not None
        finding.repair()
        lines.append(f"{finding.what}, repaired: {finding.where}")
    return lines


def held_for_writing(project: Project) -> list[Path]:
    """Return the outs that a living DVC process is writing."""
    file = project.root / ".dvc" / "tmp" / "rwlock"
    try:
        return [Path(hold.path) for hold in holds(file) if hold.mode == "write" and alive(hold, file)]
    except ValueError:
        return []


def holds(file: Path) -> list[Hold]:
    """Read the entries; ValueError if the file is not in DVC's format."""
    return list(_entries(_content(file)))


def alive(hold: Hold, file: Path) -> bool:
    """Whether the entry's process is alive, and not a later one with the same pid."""
    if not pid_fits(hold.pid, file.stat().st_mtime):
        return False
    words = psutil.Process(hold.pid).cmdline()
    # DVC writes sys.argv: the program's file, then the arguments.
    by_dvc = Path(hold.command.partition(" ")[0]).name == "dvc" or "/dvc/" in hold.command.partition(" ")[0]
    return not by_dvc or any("dvc" in word for word in words)


def pid_fits(pid: int, time_of_note: float) -> bool:
    """Whether the process ``pid`` is alive and started before ``time_of_note``."""
    started = start_time(pid)
    return started is not None and started <= time_of_note + 1


def _content(file: Path) -> Lock:
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return content


def _entries(content: Lock) -> Iterator[Hold]:
    try:
        for path, entry in content.get("write", {}).items():
            yield Hold("write", path, int(entry["pid"]), str(entry["cmd"]))
        for path, entries in content.get("read", {}).items():
            for entry in entries:
                yield Hold("read", path, int(entry["pid"]), str(entry["cmd"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not of DVC's form: {error}") from None


def _rewrite(file: Path) -> None:
    """Remove the entries of dead processes, under the lock of the file."""
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_LOCK

    with make_lock(str(file.with_name(RWLOCK_LOCK)), tmp_dir=str(file.parent)):
        try:
            living = [hold for hold in holds(file) if alive(hold, file)]
        except ValueError:
            living = []
        content: Lock = {"write": {}, "read": {}}
        for hold in living:
            entry = {"pid": hold.pid, "cmd": hold.command}
            if hold.mode == "write":
                content["write"][hold.path] = entry
            else:
                content["read"].setdefault(hold.path, []).append(entry)
        write_text(file, json.dumps(content))
