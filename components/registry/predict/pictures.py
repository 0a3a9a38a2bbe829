"""The pictures to predict: single files, folders, text files with a path per line, and tables with a column of paths."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.core.config.strict import SettingsError
from components.registry.monitor.incoming import SUFFIXES, incoming

TABLES = {".csv": ",", ".tsv": "\t"}
COLUMNS = ("file", "path", "image", "filename")  # of a table, the first that exists
FORMULA = ("=", "+", "-", "@")  # a spreadsheet would compute a cell that begins so


@dataclass(frozen=True)
class Picture:
    """A file: its ``path`` as the operating system knows it, and its name relative to the current folder, if it is below it."""

    path: bytes
    name: str


def find_pictures(places: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures of all ``places``, in order; nothing is held, so that there may be any number.

    SettingsError, before the first one is yielded, for a place that does not exist or cannot be read as a list.
    """
    streams = [_paths(Path(place)) for place in places]
    return (Picture(path, _name(path)) for stream in streams for path in stream)


def _paths(place: Path) -> Iterator[bytes]:
    if not os.path.lexists(place):
        raise SettingsError(f"WHAT: {str(place)!r} does not exist")
    if place.is_dir():
        return incoming(place)
    if place.suffix.lower() in TABLES:
        return _of_table(place)
    if _is_text(place):
        return _lines(place)
    return iter([os.fsencode(place.absolute())])


def _is_text(place: Path) -> bool:
    """Whether the file is a list: no picture by its suffix, and without zero bytes."""
    if os.fsencode(place).lower().endswith(SUFFIXES) or not place.is_file():
        return False
    with place.open("rb") as file:
        start = file.read(1024)
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.end >= len(start) - 3 and b"\0" not in start  # a character cut at the end
    return b"\0" not in start


def _lines(place: Path) -> Iterator[bytes]:
    try:
        return incoming(place)
    except ValueError as error:
        raise SettingsError(f"WHAT: {error}") from None


def _of_table(place: Path) -> Iterator[bytes]:
    try:
        with place.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file, delimiter=TABLES[place.suffix.lower()]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"WHAT: {place} is not readable as a table: {error}") from None
    column = next((name for name in COLUMNS if name in header), None)
    if column is None:
        columns = ", ".join(header) or "nothing"
        raise SettingsError(f"WHAT: {place} needs a column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; its header is {columns}")
    return _cells(place, header.index(column))


def _cells(place: Path, index: int) -> Iterator[bytes]:
    folder = os.fsencode(place.absolute().parent)
    with place.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        rows = csv.reader(file, delimiter=TABLES[place.suffix.lower()])
        next(rows)
        for row in rows:
            if len(row) > index and row[index]:
                yield os.path.normpath(os.path.join(folder, os.fsencode(row[index])))


def _name(path: bytes) -> str:
    here = os.fsencode(os.getcwd()) + b"/"
    name = os.fsdecode(path.removeprefix(here))
    return f"./{name}" if name.startswith(FORMULA) else name


def printable(text: str) -> str:
    """Escape what is not printable, such as newlines in a file's name."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
