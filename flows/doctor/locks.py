"""DVC's locks on files, ``.dvc/tmp/rwlock``: who holds which, and whether the holder still lives.

DVC looks only whether a process of that number exists. Its other lock, ``.dvc/tmp/lock``, is the kernel's: it ends with its
holder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.core.files import write_atomically
from flows.doctor.finding import Finding
from flows.project import Project

Lock = dict[str, Any]
_TICKS = os.sysconf("SC_CLK_TCK")  # a second


@dataclass(frozen=True)
class Hold:
    """An entry: process ``pid``, which ran ``command``, holds ``path`` for "read" or "write"."""

    mode: str
    path: str
    pid: int
    command: str


def stale_locks(project: Project) -> Iterator[Finding]:
    """Entries whose process is gone, or whose number another process has now; a file that is not whole."""
    file = project.root / ".dvc" / "tmp" / "rwlock"
    try:
        found = holds(file)
    except ValueError as error:
        yield Finding("DVC's lock file cannot be read", f"{file}: {error}", "writes an empty one", partial(_rewrite, file))
        return
    for hold in found:
        if not alive(hold, file):
            words = f"{hold.path}: process {hold.pid} ({hold.command}), which is gone, has it for {hold.mode}"
            yield Finding("stale DVC lock", words, "takes the entry out", partial(_rewrite, file))


def held_for_writing(project: Project) -> list[Path]:
    """The outs at which a living DVC process is writing now."""
    file = project.root / ".dvc" / "tmp" / "rwlock"
    try:
        return [Path(hold.path) for hold in holds(file) if hold.mode == "write" and alive(hold, file)]
    except ValueError:
        return []


def holds(file: Path) -> list[Hold]:
    """The entries; ValueError where the file is none of DVC's."""
    return list(_entries(_content(file)))


def alive(hold: Hold, file: Path) -> bool:
    """Whether the entry's process lives, and is not a later one with the same number."""
    if not pid_fits(hold.pid, file.stat().st_mtime):
        return False
    words = Path(f"/proc/{hold.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    # What DVC notes is sys.argv: the program's file, then the arguments.
    by_dvc = Path(hold.command.partition(" ")[0]).name == "dvc" or "/dvc/" in hold.command.partition(" ")[0]
    return not by_dvc or any("dvc" in word for word in words)


def pid_fits(pid: int, noted: float) -> bool:
    """Whether the process ``pid`` lives and is no later one than the note of it, made at time ``noted``."""
    began = _began(pid)
    return began is not None and began <= noted + 1


def _content(file: Path) -> Lock:
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("no mapping")
    return found


def _entries(content: Lock) -> Iterator[Hold]:
    try:
        for path, entry in content.get("write", {}).items():
            yield Hold("write", path, int(entry["pid"]), str(entry["cmd"]))
        for path, entries in content.get("read", {}).items():
            for entry in entries:
                yield Hold("read", path, int(entry["pid"]), str(entry["cmd"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not of DVC's form: {error}") from None


def _began(pid: int) -> float | None:
    """When the process started, in seconds since 1970; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    since_boot = int(fields[19]) / _TICKS
    return None if fields[0] == "Z" else time.time() - float(Path("/proc/uptime").read_text().split()[0]) + since_boot


def _rewrite(file: Path) -> None:
    """Keep the living entries alone, under the lock that guards the file."""
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_LOCK

    with make_lock(str(file.with_name(RWLOCK_LOCK)), tmp_dir=str(file.parent)):
        try:
            kept = [hold for hold in holds(file) if alive(hold, file)]
        except ValueError:
            kept = []
        content: Lock = {"write": {}, "read": {}}
        for hold in kept:
            entry = {"pid": hold.pid, "cmd": hold.command}
            if hold.mode == "write":
                content["write"][hold.path] = entry
            else:
                content["read"].setdefault(hold.path, []).append(entry)
        write_atomically(file, json.dumps(content).encode())
