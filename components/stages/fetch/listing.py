"""Read a folder of images listed in a CSV table (UTF-8, comma separated, with a header), with boxes in COCO format.

``file``: the image, relative to the folder (required); ``split``: train, validation or test; ``caption``: a caption; a file may
have several rows, one per caption, with the same values in all other columns; ``labels``: several classes per image,
separated by "|", empty for none. Every other column (``label``, ``domain``, ``group``, any name) has class names.

Boxes: a JSON file in COCO format: ``images`` (id, file_name, width, height), ``categories`` (id, name) and ``annotations``
(image_id, category_id, bbox = [x, y, w, h] in pixels). Annotations with ``iscrowd`` 1 are ignored.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.core.strict import NAME
from components.stages.fetch.dataset_files import RESERVED, Boxes, write_annotations, write_index
from components.stages.fetch.folder import IMAGES, SPLITS, check_inside, check_size, pack_files, plain_name

OWN = ("file", "split", "caption", "labels")  # columns of the table that are not classes
BEYOND = 1.0  # pixels: how far rounding may put a box beyond the edge

log = logging.getLogger(__name__)


@dataclass
class Row:
    """An image of the table: its cells, and the captions of all its rows. ``line``: of its first row."""

    line: int
    cells: dict[str, str]
    captions: list[str] = field(default_factory=list)


def fetch_listed(folder: Path, table: str, boxes: str | None, out: Path) -> None:
    """Write the dataset of the images in ``table``. ValueError names the invalid file and line."""
    path = folder / table
    rows = read_table(path)
    for name, row in rows.items():
        _check_file(folder, name, f"{path}, line {row.line}")
    _report_unlisted(folder, rows)
    columns = [column for column in next(iter(rows.values())).cells if column not in OWN]
    classes: dict[str, list[str]] = {column: _in_order(row.cells[column] for row in rows.values()) for column in columns}
    if "labels" in next(iter(rows.values())).cells:
        classes["labels"] = _in_order(name for row in rows.values() for name in _several(row.cells["labels"]))
    coco_boxes: dict[str, tuple[Any, Any]] | None = None
    if boxes is not None:
        coco_boxes, classes["box_label"] = read_coco(folder / boxes, set(rows))
    splits: dict[str, list[str]] = {}
    for name in sorted(rows, key=str.encode):
        splits.setdefault(rows[name].cells.get("split", "all"), []).append(name)
    entries = {}
    for split, names in splits.items():
        pack_files({name: folder / name for name in names}, out / f"{split}.tar")
        here = [coco_boxes[name] for name in names] if coco_boxes is not None else None
        described = _annotate(out, split, [rows[name] for name in names], classes, here)
        entries[split] = {"archive": f"{split}.tar", **described}
    write_index(out, "files", entries, classes)


def read_table(path: Path) -> dict[str, Row]:
    """Read the table as file -> row. ValueError for an unreadable table, and for missing or contradictory cells."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not readable as a table: {error}") from None
    header = lines[0] if lines else []
    _check_header(header, path)
    rows: dict[str, Row] = {}
    for line, values in enumerate(lines[1:], start=2):
        if not values:
            continue
        if len(values) != len(header):
            raise ValueError(f"{path}, line {line}: {len(values)} cells, the header has {len(header)}")
        cells = dict(zip(header, values, strict=True))
        _check_cells(cells, f"{path}, line {line}")
        caption = cells.pop("caption", None)
        row = rows.setdefault(cells["file"], Row(line, cells))
        for column, value in cells.items():
            if row.cells[column] != value:
                first = f"{row.cells[column]!r} in line {row.line}"
                raise ValueError(f"{path}, line {line}: {cells['file']} has the {column} {value!r} here and {first}")
        if caption is None and row.line != line:
            raise ValueError(f"{path}, line {line}: {cells['file']} stands in line {row.line} already")
        row.captions += [] if caption is None else [caption]
    if not rows:
        raise ValueError(f"{path}: no image is listed")
    return rows


def _check_header(header: list[str], path: Path) -> None:
    if "file" not in header:
        raise ValueError(f"{path}: no column 'file'; the header is {', '.join(header) or 'empty'}")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise ValueError(f"{path}: the column {twice[0]!r} stands twice in the header")
    if reserved := sorted(set(header) & set(RESERVED) - set(OWN)):
        raise ValueError(f"{path}: {reserved[0]!r} cannot be a column's name: it has a meaning of its own in a dataset")
    if wrong := [column for column in header if not re.fullmatch(NAME, column)]:
        raise ValueError(f"{path}: {wrong[0]!r} cannot be a column's name: letters a-z, digits and _, a letter first")


def _check_cells(cells: dict[str, str], where: str) -> None:
    for column, value in cells.items():
        if value == "" and column != "labels":
            raise ValueError(f"{where}: no {column}")
    if cells.get("split", "train") not in SPLITS:
        raise ValueError(f"{where}: the split {cells['split']!r} is not allowed: {', '.join(SPLITS)}")


def _check_file(folder: Path, name: str, where: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{where}: {name!r} is no path inside the folder, with / between folders")
    for part in parts:
        plain_name(part, folder)
    if not (folder / name).is_file():
        raise ValueError(f"{where}: {name}: no such file in {folder}")
    check_inside(folder / name, folder)
    check_size(folder / name)


def _report_unlisted(folder: Path, rows: dict[str, Row]) -> None:
    images = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file()]
    unlisted = len({path.relative_to(folder).as_posix() for path in images} - set(rows))
    if unlisted:
        log.warning("%s: %d images are not in the table", folder, unlisted)


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=str.encode)


def _several(cell: str) -> list[str]:
    return [name for name in cell.split("|") if name]


def _annotate(out: Path, split: str, rows: list[Row], classes: dict[str, list[str]], boxes: Boxes | None) -> dict[str, str]:
    """Write the annotation files of a split; return their part of the entry."""
    columns = {
        column: np.array([names.index(row.cells[column]) for row in rows], dtype=np.int64)
        for column, names in classes.items()
        if column not in ("labels", "box_label")
    }
    labels = None
    if "labels" in classes:
        given = [set(_several(row.cells["labels"])) for row in rows]
        labels = np.array([[name in here for name in classes["labels"]] for here in given], dtype=np.float32)
    text = [row.captions for row in rows] if rows[0].captions else None
    return write_annotations(out, split, len(rows), columns, text=text, labels=labels, boxes=boxes)


def read_coco(path: Path, files: set[str]) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """Read (file -> (boxes float64 [b, 4], relative (cx, cy, w, h); class indices [b]), class names), for each of ``files``.

    ValueError for a box without area or outside its image, and for an unlisted image or category.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        images = {image["id"]: (image["file_name"], image["width"], image["height"]) for image in given["images"]}
        categories = {category["id"]: category["name"] for category in given["categories"]}
        annotations = [(a["image_id"], a["category_id"], a["bbox"]) for a in given["annotations"] if not a.get("iscrowd")]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not readable as COCO's annotations: {type(error).__name__}: {error}") from None
    classes = list(categories.values())
    if len(set(classes)) < len(classes):
        raise ValueError(f"{path}: two categories have the same name")
    places = {key: index for index, key in enumerate(categories)}
    boxes_by_file: dict[str, tuple[list[Any], list[int]]] = {name: ([], []) for name in sorted(files, key=str.encode)}
    for number, (image, category, box) in enumerate(annotations):
        where = f"{path}: annotation {number}"
        if image not in images or category not in categories:
            raise ValueError(f"{where}: image_id {image!r} or category_id {category!r} is not listed")
        name, width, height = images[image]
        if name in boxes_by_file:
            boxes_by_file[name][0].append(_relative(box, width, height, f"{where} of {name}"))
            boxes_by_file[name][1].append(places[category])
    return {
        name: (np.array(boxes).reshape(-1, 4), np.array(labels)) for name, (boxes, labels) in boxes_by_file.items()
    }, classes


def _relative(box: Any, width: float, height: float, where: str) -> list[float]:
    """Convert [x, y, w, h] in pixels to relative [cx, cy, w, h], clipping at most ``BEYOND`` pixels."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
        raise ValueError(f"{where}: the box {box!r} is not [x, y, w, h]")
    x, y, w, h = box
    if not (w > 0 and h > 0):
        raise ValueError(f"{where}: the box {box} has no area")
    if not (x >= -BEYOND and y >= -BEYOND and x + w <= width + BEYOND and y + h <= height + BEYOND):
        raise ValueError(f"{where}: the box {box} is not inside the image, {width} x {height} pixels")
    left, upper, right, lower = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    return [(left + right) / 2 / width, (upper + lower) / 2 / height, (right - left) / width, (lower - upper) / height]
