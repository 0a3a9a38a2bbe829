"""The processes that work for one project, by what they are."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from pathlib import Path

TARGETS = ("flow", "stage", "dvc", "server")


def working(work: Path) -> dict[int, list[str]]:
    """pid -> command line of every process whose environment names the state folder ``work``; the dead do not count."""
    found, mine = {}, f"DARKROOM_WORK={work}".encode()
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mine in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return found


def kind(words: list[str]) -> str:
    """One of ``TARGETS``, "guard", or "other"."""
    if any(word.endswith("process_guard.py") for word in words):
        return "guard"
    if any(word.endswith("flows/dvc/entries.py") for word in words):
        return "dvc"
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    if module.startswith("components.") and "python" in words[0]:
        return "stage"
    return {"flows": "flow", "dvc": "dvc", "uvicorn": "server"}.get(module, "other")


def label(words: list[str]) -> str:
    """What a reader wants to know of the process."""
    named = [word for word in words if "@" in word]
    stage = [f"{a.removeprefix('components.')}@{b}" for a, b in itertools.pairwise(words) if a.startswith("components.")]
    return (named or stage or [""])[0]


def kill(pid: int) -> bool:
    """SIGKILL; False if it was gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
