"""Rows of a table become pictures: file names, repeated rows, captions, boxes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from components.stages.fetch.files.names import is_junk, relative_name
from components.stages.fetch.files.pictures import Listing, Picture, in_order
from components.stages.fetch.files.suffixes import FORMATS
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import Placer
from components.stages.fetch.formats.coco_json import read_coco
from components.stages.fetch.formats.tables.rows import Cell


def pictures_of(rows: list[tuple[str, dict[str, Cell]]], base: str, suffix: str, walk: Walk) -> dict[str, Picture]:
    """Return name -> picture of (where, column -> cell). Contradictory rows and missing files become faults."""
    pictures: dict[str, Picture] = {}
    first: dict[str, tuple[str, dict[str, Cell]]] = {}
    for where, cells in rows:
        captions = cells.pop("caption", None)
        try:
            name = relative_name(file_name(str(cells["file"]), suffix, base), where)
        except ValueError as error:
            walk.faults.add(str(error))
            continue
        if name in first:
            _compare(where, cells, first[name], walk, repeated=captions is None)
        else:
            first[name] = where, cells
            if (content := walk.file(name, where)) is None:
                continue
            labels = cells.get("labels", "")
            pictures[name] = Picture(
                name,
                content,
                {column: str(value) for column, value in cells.items() if column not in ("file", "labels")},
                labels=tuple(labels if isinstance(labels, list) else filter(None, labels.split("|"))),
            )
        if name in pictures and captions is not None:
            pictures[name].captions += captions if isinstance(captions, list) else [captions]
    return pictures


def _compare(where: str, cells: dict[str, Cell], first: tuple[str, dict[str, Cell]], walk: Walk, *, repeated: bool) -> None:
    """Add a fault for a second row of a file that contradicts the first, or has no further caption."""
    place = first[0].rpartition(", ")[2]
    for column, value in cells.items():
        if first[1][column] != value:
            walk.faults.add(f"{where}: {cells['file']} has the {column} {value!r} here and {first[1][column]!r} in {place}")
            return
    if repeated:
        walk.faults.add(f"{where}: {cells['file']} stands in {place} already")


def file_name(cell: str, suffix: str, base: str) -> str:
    """Return a file's name relative to the dataset's folder, with / between folders. ``base``: "" or the pictures' folder."""
    name = cell.replace("\\", "/").removeprefix("./")
    if suffix and not name.lower().endswith(suffix.lower()):
        name += suffix
    return f"{base}/{name}" if base else name


def listing_of(pictures: dict[str, Picture], columns: list[str], captions: bool) -> Listing:
    """Return the listing. ``columns``: those with class names."""
    listing = Listing({}, captions=captions)
    for column in columns:
        listing.classes[column] = in_order(picture.columns[column] for picture in pictures.values())
    for picture in pictures.values():
        listing.splits.setdefault(picture.columns.get("split", "all"), []).append(picture)
    return listing


def add_boxes(listing: Listing, path: Path, placer: Placer, walk: Walk) -> None:
    """Add the boxes of a COCO file, whose file names are those of the table."""
    coco = read_coco(path, walk)
    listing.classes["box_label"] = coco.categories
    for picture in (picture for pictures in listing.splits.values() for picture in pictures):
        image = coco.images.get(picture.name)
        if image:
            picture.boxes = placer.place(picture.content, image.boxes, image.frame, f"{path}: {picture.name}")
    listing.notes += placer.notes()


def repeated_captions(pictures: Iterable[Picture]) -> list[str]:
    """Count the captions that a picture has more than once; return a line for the log."""
    extra = [len(picture.captions) - len(set(picture.captions)) for picture in pictures]
    count, affected = sum(extra), sum(number > 0 for number in extra)
    return [f"{count} captions stand twice for their picture ({affected} pictures)"] if count else []


def unlisted(walk: Walk, names: set[str]) -> list[str]:
    """Count the images below the folder that no row names; return a line for the log."""
    files = (path.relative_to(walk.root) for path in walk.root.rglob("*") if path.suffix.lower() in FORMATS)
    count = len({file.as_posix() for file in files if not any(map(is_junk, file.parts))} - names)
    return [f"{count} images are not in the table"] if count else []
