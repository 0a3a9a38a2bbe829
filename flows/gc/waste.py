"""A thing that may go, and what is asked of all of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Waste:
    """``what`` it is, ``size`` in bytes (0 where it cannot be told), ``why`` it may go, and how it goes."""

    what: str
    size: int
    why: str
    remove: Callable[[], object]


def size_of(path: Path) -> int:
    """Bytes of the file, or of all files below the folder; 0 where there is nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def age(path: Path) -> float:
    """Days since the youngest file of the folder, or the file itself, was changed."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return (time.time() - max(file.lstat().st_mtime for file in files)) / DAY


def remove(path: Path) -> None:
    """A file or a folder, that may be gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
