"""The images that have come in: a folder, or a text file that lists one path a line. Whatever lies there, nothing hangs.

Paths are absolute and kept as bytes, as the system does: a name need not be text. Nothing of one is ever run or parsed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from components.stages.fetch.folder import IMAGES, MAX_BYTES

SUFFIXES = tuple(os.fsencode(suffix) for suffix in IMAGES)


class Unreadable(Exception):
    """There is something, but no image file; the message says what is wrong with it."""


def incoming(place: Path) -> Iterator[bytes]:
    """Every path of the folder (images by suffix, at any depth) or of the list. ValueError where ``place`` is neither.

    Hidden files and links to folders are passed over. A folder that cannot be listed comes as a path, which is unreadable.
    """
    if place.is_dir():
        return _in_folder(os.fsencode(place.absolute()))
    if place.is_file():
        return _in_list(place.absolute())
    raise ValueError(f"{place}: neither a folder of images nor a text file that lists one path a line")


def base_of(place: Path) -> bytes:
    """The folder that names are shown relative to."""
    return os.fsencode(place.absolute() if place.is_dir() else place.absolute().parent)


def _in_folder(folder: bytes) -> Iterator[bytes]:
    closed: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith(b"."))
        chosen = sorted(name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(b"."))
        yield from (os.path.join(parent, name) for name in chosen)
    yield from (os.fsencode(error.filename) for error in closed)


def _in_list(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if b"\0" in file.read(1024):
            raise ValueError(f"{path}: neither a folder of images nor a text file that lists one path a line")
        file.seek(0)
        folder = os.fsencode(path.parent)
        for line in file:
            if line.strip():
                yield os.path.normpath(os.path.join(folder, line.rstrip(b"\r\n")))


def stamp_of(path: bytes) -> str:
    """Device, inode, size and times of the file: while they stay, so does its content.

    FileNotFoundError where there is nothing; Unreadable for a pipe, a device, a link that leads nowhere, a file too long.
    """
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise Unreadable("a link that leads nowhere") from None
        raise
    except (OSError, ValueError) as error:  # ValueError: a line of a list with a zero byte
        raise Unreadable(_words(error)) from None
    _check(facts)
    return f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"


def read(path: bytes) -> bytes:
    """The file's bytes; FileNotFoundError or Unreadable as ``stamp_of``. What became a pipe meanwhile does not block."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check(os.fstat(file.fileno()))
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(_words(error)) from None


def shown(path: bytes, base: bytes) -> str:
    """The path for a reader, relative to ``base`` where it is below it; control characters and what is no text are escaped.

    It starts with "./" or "/": a name that begins with "=" is no formula to a program that opens the table.
    """
    name = b"./" + os.path.relpath(path, base) if path.startswith(base + b"/") else path
    text = os.fsdecode(name)
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _check(facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise Unreadable("not a file: a folder, a pipe, a socket or a device")
    if facts.st_size > MAX_BYTES:
        raise Unreadable(f"{facts.st_size:,} bytes; an image file may have at most {MAX_BYTES:,}")


def _words(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
