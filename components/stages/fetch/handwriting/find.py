"""Find handwriting files in a folder and in its zip archives, and the writer and split that their names give."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from components.stages.fetch.files.names import is_junk, relative_name, split_of
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.handwriting.reading import Place

DEPTH = 8  # folders below each other
SPLIT_WORDS = {"trn": "train", "tst": "test"}  # CASIA's, besides the usual ones
HCL_SPLITS = {"xx": "train", "hh": "test"}  # HCL2000: xx001 to xx700, hh001 to hh300
READ = (".gnt", ".dgrl", ".pot", ".hcl")
OR3C = re.compile(r"^(.+)_(images|vectors)$")
LABELS = re.compile(r"^(.+_)?labels(\.txt)?$")

# Formats that are known by name, and why they are not read.
REFUSED = {
    ".spt": "SCUT-COUCH2009's format has no public specification: not read",
    ".mpf": "features of characters, not pictures: the .gnt files of the set are read",
    ".dgr": "pages in the older form of CASIA-HWDB 2: the set's .dgrl files are read",
    ".wptt": "pages of pen strokes: not read; the set's characters (.pot) are",
    ".ptts": "pages of pen strokes: the order of its fields is verified nowhere: not read",
    ".rar": "an archive that cannot be read in place; unpack it, or pack it as .zip",
    ".7z": "an archive that cannot be read in place; unpack it, or pack it as .zip",
}
TOUCHING = ".tcs"


def find_places(walk: Walk) -> list[Place]:
    """Return the handwriting files, those in zip archives included, in byte order of their names.

    Files of formats that are not read become faults; others are counted in ``walk.skipped``.
    """
    found = [place for path in _files(walk, walk.root, DEPTH) for place in _places(path, walk)]
    return sorted((place for place in found if _is_read(place, walk)), key=lambda place: place.name.encode())


def _files(walk: Walk, folder: Path, depth: int) -> Iterator[Path]:
    for path in walk.entries(folder):
        if path.is_dir():
            yield from _files(walk, path, depth - 1) if depth else ()
        else:
            yield path


def _places(path: Path, walk: Walk) -> Iterator[Place]:
    name = path.relative_to(walk.root).as_posix()
    if path.suffix.lower() != ".zip":
        yield Place(path, name)
        return
    walk.note(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        walk.faults.add(f"{path}: not readable as a zip archive: {error}")
        return
    for member in members:
        if any(map(is_junk, PurePosixPath(member.filename).parts)):
            walk.skipped["hidden"] += 1
            continue
        try:
            yield Place(path, f"{name}/{relative_name(member.filename, str(path))}", member.filename)
        except ValueError as error:
            walk.faults.add(str(error))


def _is_read(place: Place, walk: Walk) -> bool:
    name = PurePosixPath(place.name)
    suffix = name.suffix.lower()
    if reason := REFUSED.get(suffix):
        walk.faults.add(f"{place.name}: {reason}")
    elif suffix in (*READ, TOUCHING) or OR3C.match(name.name) or LABELS.match(name.name):
        if place.member is None:
            walk.note(place.path)
        return True
    else:
        walk.skipped[suffix or "without suffix"] += 1
    return False


def is_handwriting(place: Place) -> bool:
    """Whether the file holds characters or lines that are read."""
    return place.name.lower().endswith(READ) or OR3C.match(PurePosixPath(place.name).name) is not None


def published_split(place: Place) -> str:
    """Return train, validation or test by a word in the path, such as Gnt1.1Test or HWDB1.1trn; "all" without one."""
    path = PurePosixPath(place.name)
    if path.suffix.lower() == ".hcl" and (split := HCL_SPLITS.get(path.name[:2].lower())):
        return split
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", str(path.parent))
    return next((split for word in words if (split := SPLIT_WORDS.get(word.lower()) or split_of(word))), "all")


def writer_of(place: Place, pattern: re.Pattern[str]) -> str:
    """Return the writer that the file's name gives. ValueError if it gives none."""
    match = pattern.search(PurePosixPath(place.name).name)
    if match is None or not match.group(1):
        raise ValueError(f"{place.name}: no writer in the name by the pattern {pattern.pattern!r}; writer: gives another")
    return match.group(1)


def labels_of(place: Place, places: list[Place]) -> Place:
    """Return the file of codes beside images or vectors of HIT-OR3C. ValueError if there is none."""
    path = PurePosixPath(place.name)
    writer = path.name.rpartition("_")[0]
    names = [f"{writer}_labels", f"{writer}_labels.txt", "labels", "labels.txt"]
    known = {other.name: other for other in places}
    for folder in (path.parent, path.parent.parent):
        for name in names:
            if found := known.get((folder / name).as_posix()):
                return found
    raise ValueError(f"{place.name}: no file of codes beside it: {', '.join(names[::2])}")
