"""Which process on which machine: what outlives a killed process must be able to tell that it is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """What tells this process from all others: host, pid, start time in clock ticks since boot."""
    return identity(os.getpid())


def identity(pid: int) -> str:
    """The same of another process on this machine."""
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def is_gone(process: str) -> bool | None:
    """Whether the process of this identity has ended; None where that cannot be told: it ran on another machine."""
    host, pid, started = (process + "::").split(":")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return None
    return _started(int(pid)) != started


def _started(pid: int) -> str | None:
    """None where there is no such process, or where it is dead and waits for its parent to notice."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
