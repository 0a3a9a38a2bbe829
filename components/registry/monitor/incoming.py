"""New images: a folder, or a text file with one path per line. Pipes, devices and broken links are reported, never waited for.

Paths are absolute and of type bytes, as in the operating system: a name need not be text.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from components.stages.fetch.files.suffixes import IMAGES, MAX_BYTES

SUFFIXES = tuple(os.fsencode(suffix) for suffix in IMAGES)


class Unreadable(Exception):
    """The path exists but is no readable file; the message says why."""


def incoming(place: Path) -> Iterator[bytes]:
    """Yield every path of the folder (images by suffix, at any depth) or of the list. ValueError if ``place`` is neither.

    Hidden files and links to folders are skipped. A folder that cannot be listed is yielded itself, and is then unreadable.
    """
    if place.is_dir():
        return _in_folder(os.fsencode(place.absolute()))
    if place.is_file():
        return _in_list(place.absolute())
    raise ValueError(f"{place}: neither a folder of images nor a text file that lists one path a line")


def base_of(place: Path) -> bytes:
    """Return the folder to which displayed names are relative."""
    return os.fsencode(place.absolute() if place.is_dir() else place.absolute().parent)


def _in_folder(folder: bytes) -> Iterator[bytes]:
    errors: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=errors.append):
        folders[:] = sorted(name for name in folders if not name.startswith(b"."))
        images = sorted(name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(b"."))
        yield from (os.path.join(parent, name) for name in images)
    yield from (os.fsencode(error.filename) for error in errors)


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
    """Return device, inode, size and times of the file, which change with its content.

    FileNotFoundError if there is nothing; Unreadable for a pipe, a device, a broken link, a file too long.
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
    """Read the file; FileNotFoundError or Unreadable as ``stamp_of``. Does not block, even on a pipe."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check(os.fstat(file.fileno()))
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(_words(error)) from None


def shown(path: bytes, base: bytes) -> str:
    """Format the path for display, relative to ``base`` if below it; non-printable characters and bytes are escaped.

    It starts with "./" or "/", so that a spreadsheet takes no name for a formula.
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
