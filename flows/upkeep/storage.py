"""Trials of ``doctor --container``: folders, disk and shared memory."""

from __future__ import annotations

import fcntl
import mmap
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

from components.core import settings
from components.core.outputs import OUTPUTS
from flows.project import Project

LEAST_DISK = 2e9  # bytes: two copies of results and a checkpoint of the default runs take 0.5 GB
SHARED = "/dev/shm"  # noqa: S108
LEAST_SHARED = 64e6  # bytes of /dev/shm; Docker's default. Batches of `workers` pass through it
TIMEOUT = 20.0  # seconds


class Unfit(Exception):
    """The surroundings lack something; the message says what to do."""


def folders(project: Project) -> str:
    """Files can be written, renamed, locked and synchronised in all folders that a run writes to."""
    places = (project.folder, project.folder / OUTPUTS, project.root / ".dvc", settings.WORK, Path(tempfile.gettempdir()))
    for folder in places:
        folder.mkdir(parents=True, exist_ok=True)
        write_and_lock(folder)
    return f"{len(places)} folders can be written"


def write_and_lock(folder: Path) -> None:
    """Write, synchronise, lock and link a file in the folder; Unfit says which folder does not allow it."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other = Path(f"{file.name}.other")
            os.link(file.name, other)
            other.unlink()
    except OSError as error:
        raise Unfit(f"{folder}: {error.strerror}; a run writes, locks and links files there") from None


def disk(project: Project) -> str:
    """Enough space where results, state and temporary files go."""
    free = {path: shutil.disk_usage(path).free for path in (project.folder, settings.WORK, Path(tempfile.gettempdir()))}
    path, least = min(free.items(), key=lambda item: item[1])
    if least < LEAST_DISK:
        raise Unfit(f"{path}: {least / 1e9:.2f} GB are free; {LEAST_DISK / 1e9:.0f} GB are the least")
    return f"{least / 1e9:.1f} GB are free"


def shared_memory(project: Project) -> str:
    """Shared memory that another process sees, and enough of it for loader workers."""
    size = shutil.disk_usage(SHARED).total
    with mmap.mmap(-1, 4096) as page:
        child = multiprocessing.get_context("fork").Process(target=page.write, args=(b"seen",))
        child.start()
        child.join(TIMEOUT)
        if page[:4] != b"seen":
            raise Unfit("a process does not see what its child writes into shared memory")
    if size < LEAST_SHARED:
        raise Unfit(f"{SHARED} has {size / 1e6:.2f} MB; `docker run --shm-size=1g`, or `workers: 0` in the trainings")
    return f"{SHARED} has {size / 1e6:.0f} MB"
