"""Name the places without space: an error of writing, "No space left on device", names no path."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from components.core.settings import WORK

LEAST = 1_000_000  # bytes; less counts as full
FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException | None) -> bool:
    """Whether the error or one of its causes says that a disk is full or a quota used up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def places() -> list[Path]:
    """Return where a stage writes: results, DVC's cache, state folder, temporary files, shared memory."""
    return [Path("outputs"), Path(".dvc"), WORK, Path(tempfile.gettempdir()), Path("/dev/shm")]  # noqa: S108


def free_space(paths: Iterable[Path]) -> dict[Path, int]:
    """Map one existing path of each file system to its free bytes, the fullest first."""
    by_system = {os.stat(path).st_dev: path for path in reversed([*paths]) if path.exists()}
    free = {path: _free(path) for path in by_system.values()}
    return dict(sorted(free.items(), key=lambda item: item[1]))


def note_of(error: BaseException) -> str:
    """Return what to append to the error's message: the free space at each place; "" if space is not its reason.

    torch's own writer says only that it failed: that is taken for a full disk if a place is full.
    """
    space = free_space(places())
    wrote = "PytorchStreamWriter" in str(error) and any(free < LEAST for free in space.values())
    if not is_full(error) and not wrote:
        return ""
    return "; free: " + ", ".join(f"{path} {free / 1e6:,.1f} MB" for path, free in space.items())


def _free(path: Path) -> int:
    """Return the free bytes for an unprivileged user; 0 if there are no inodes left."""
    state = os.statvfs(path)
    return 0 if state.f_files and not state.f_favail else state.f_bavail * state.f_frsize
