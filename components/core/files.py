"""Atomic writes, file locks, temporary folders, and the identity of processes."""

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
    """Write ``data`` atomically: temporary file, fsync, rename.

    ``temporary``: a file on the same file system; by default next to ``path``.
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
    """Write ``content`` atomically as JSON with sorted keys, one per line; create the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=ensure_ascii) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz of ``arrays`` in their order; it holds no timestamp."""
    import numpy as np

    np.savez(path, **arrays)


def read_arrays(path: Path) -> dict[str, Any]:
    """Read the arrays of an npz, in their order."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in the file; empty if there is no file or no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def file_state(path: str | Path) -> tuple[int, int, int]:
    """Return (mtime in nanoseconds, size, inode), which change when a file is written; zeros for a missing file."""
    try:
        state = os.stat(path)
    except OSError:
        return 0, 0, 0
    return state.st_mtime_ns, state.st_size, state.st_ino


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """Yield a new empty folder that replaces ``out`` when the block succeeds; a failure leaves ``out`` unchanged."""
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed run
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
    """Hold an exclusive lock on the file, creating it; the kernel releases it when the process ends.

    Yields the open file, for a note on the holder. Without ``wait``: BlockingIOError while another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def is_locked(path: Path) -> bool:
    """Return whether a process holds an exclusive lock on the file."""
    try:
        with path.open("rb") as file:
            return not _try_lock(file, fcntl.LOCK_EX)
    except FileNotFoundError:
        return False


@contextmanager
def share_lock(path: Path, patience: float) -> Iterator[None]:
    """Hold a shared lock on an existing file; continue without it after ``patience`` seconds."""
    if not path.is_file():
        yield
        return
    with path.open("rb") as file:
        deadline = time.monotonic() + patience
        while not _try_lock(file, fcntl.LOCK_SH) and time.monotonic() < deadline:
            time.sleep(POLL)
        yield  # closing the file releases the lock


def _try_lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def this_process() -> str:
    """Return the identity of this process: host, pid, start time in clock ticks since boot."""
    return identity(os.getpid())


def identity(pid: int) -> str:
    """Return the identity of a process on this machine."""
    return f"{socket.gethostname()}:{pid}:{_start_ticks(pid)}"


def is_gone(process: str) -> bool | None:
    """Return whether the process with this identity has ended; None if it ran on another machine."""
    host, pid, started = (process + "::").split(":")[:3]
    if host != socket.gethostname() or not pid.isdigit():
        return None
    ticks = _start_ticks(int(pid))
    return ticks is None or str(ticks) != started


def start_time(pid: int) -> float | None:
    """Return the start time of the process in seconds since 1970; None if it does not exist or is a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, OverflowError):
        return None


def _start_ticks(pid: int) -> int | None:
    """Return the clock ticks from boot to start, which do not change when the clock is set."""
    import psutil

    started = start_time(pid)
    return None if started is None else round((started - psutil.boot_time()) * os.sysconf("SC_CLK_TCK"))
