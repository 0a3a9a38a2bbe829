"""Files and processes: atomic writes, file locks, fresh folders, and which process on which machine wrote what."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

POLL = 0.02  # seconds between two attempts to take a shared lock


def write_atomically(path: Path, data: bytes, temporary: Path | None = None) -> None:
    """Write ``data`` so that ``path`` holds the old bytes or the new, never a part: temporary file, fsync, rename.

    ``temporary``: a file on the same file system; by default one beside ``path``.
    """
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, temporary: Path | None = None) -> None:
    """Write ``text`` atomically, as UTF-8."""
    write_atomically(path, text.encode(), temporary)


def write_json(path: Path, content: Any, *, ensure_ascii: bool = True) -> None:
    """Write ``content`` atomically as JSON with sorted keys, one per line; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=ensure_ascii) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz of ``arrays``, in their order; NumPy writes no time into it."""
    import numpy as np

    np.savez(path, **arrays)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read the arrays of an npz, in their order."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in the file; empty if there is none, or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def file_state(path: str | Path) -> tuple[int, int, int]:
    """What changes when a file is written: time in nanoseconds, size, inode. Zeros for a file that is gone."""
    try:
        state = os.stat(path)
    except OSError:
        return 0, 0, 0
    return state.st_mtime_ns, state.st_size, state.st_ino


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A new empty folder beside ``out``, which takes its place when the block ends well; a failure leaves ``out`` as it was."""
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[IO[str]]:
    """Hold an exclusive lock on the file, which is made; the kernel frees it when the process ends, however it ends.

    Yields the open file, for a note of the holder. Without ``wait``: BlockingIOError while another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def is_locked(path: Path) -> bool:
    """Whether a process holds an exclusive lock on the file."""
    try:
        with path.open("rb") as file:
            return not _try_lock(file, fcntl.LOCK_EX)
    except FileNotFoundError:
        return False


@contextmanager
def share_lock(path: Path, patience: float) -> Iterator[None]:
    """Share the lock on an existing file with other readers; after ``patience`` seconds go on without it."""
    if not path.is_file():
        yield
        return
    with path.open("rb") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file, fcntl.LOCK_SH) and time.monotonic() < deadline:
            time.sleep(POLL)
        yield  # closing the file gives the lock back


def _try_lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def this_process() -> str:
    """The identity of this process among all others: host, pid, start time in clock ticks since boot."""
    return identity(os.getpid())


def identity(pid: int) -> str:
    """The identity of another process on this machine."""
    return f"{socket.gethostname()}:{pid}:{_start_ticks(pid)}"


def is_gone(process: str) -> bool | None:
    """Whether the process with this identity has ended; None if that cannot be told because it ran on another machine."""
    host, pid, started = (process + "::").split(":")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return None
    ticks = _start_ticks(int(pid))
    return ticks is None or str(ticks) != started


def start_time(pid: int) -> float | None:
    """When the process started, in seconds since 1970; None if there is none, or a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, OverflowError):
        return None


def _start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to start: unlike the time of day, they do not change when somebody sets the clock."""
    import psutil

    started = start_time(pid)
    return None if started is None else round((started - psutil.boot_time()) * os.sysconf("SC_CLK_TCK"))
