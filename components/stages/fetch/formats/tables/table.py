"""Source ``table``: pictures listed in a CSV, TSV or Parquet file with a header, in folders of any form.

``file``: the picture (required); ``split``: train, validation or test; ``caption``: a caption; a file may have several rows,
one per caption, with the same values in all other columns; ``labels``: several classes per picture, separated by "|", empty for
none. Every other column (``label``, ``domain``, ``group``, any name) has class names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from components.core.config.strict import NAME
from components.stages.fetch.dataset_files import RESERVED
from components.stages.fetch.files.names import SPLITS, relative_name, split_of
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, in_order
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import BoxedSettings, Placer
from components.stages.fetch.formats.tables.pictures import (
    add_boxes,
    file_name,
    listing_of,
    pictures_of,
    repeated_captions,
    unlisted,
)
from components.stages.fetch.formats.tables.rows import DELIMITERS, TABLES, Cell, Rows, read_rows

OWN = ("file", "split", "caption", "labels")  # columns of the table that are not classes
ROLES = (*OWN, "label", "group")


class Table(Own):
    """Images as files of varying size; the table's columns; captions, several labels, boxes. Splits: "all" or the table's."""

    class Settings(BoxedSettings):
        table: str | None = Field(
            default=None, description="The table, relative to `path`. Default: the only .csv, .tsv or .parquet file in `path`."
        )
        images: str | None = Field(
            default=None,
            description="Folder that the names of files are relative to, below `path`. Default: the table's own folder, or "
            "`path` if the first picture is there.",
        )
        suffix: str = Field(default="", description="Suffix to add to names of files that lack it, such as .jpg.")
        file: str = Field(default="file", description="Column with the pictures' names.")
        label: str = Field(default="label", description="Column with the class of each picture.")
        split: str = Field(default="split", description="Column with the split: train, validation (val, valid) or test.")
        group: str = Field(default="group", description="Column with the group (patient, page, video) that stays together.")
        caption: str = Field(default="caption", description="Column with a caption; a file has a row for each of its captions.")
        labels: str = Field(default="labels", description='Column with several classes a picture, separated by "|".')
        columns: tuple[str, ...] | None = Field(
            default=None, description="Further columns to take, as class names. Default: all that the table has."
        )
        encoding: str = Field(default="utf-8", description="Encoding of a CSV or TSV file; a byte order mark is no matter.")
        delimiter: str | None = Field(
            default=None, min_length=1, max_length=1, description="Between two cells. Default: recognised, and said."
        )
        boxes: str | None = Field(default=None, description="JSON file with boxes in COCO format, relative to `path`.")

        @field_validator("encoding")
        @classmethod
        def _is_known(cls, encoding: str) -> str:
            try:
                "".encode(encoding)
            except LookupError:
                raise ValueError("no such encoding; usual ones are utf-8, utf-16, cp1252, latin-1, gb18030") from None
            return encoding

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        from components.stages.fetch.formats.tables.guess import guess_table

        return guess_table(walk, file)

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, Table.Settings)
        path = walk.root / (relative_name(settings.table, "table") if settings.table else find_table(walk))
        table = read_rows(path, walk, settings.encoding, settings.delimiter)
        header = _header(table.header, settings, path)
        base = _base(settings, path, table, header, walk)
        pictures = pictures_of(_cells(table, header, walk), base, settings.suffix, walk)
        listing = listing_of(pictures, [column for column in header if column and column not in OWN], "caption" in header)
        if "labels" in header:
            listing.classes["labels"] = in_order(name for picture in pictures.values() for name in picture.labels)
        if settings.boxes is not None:
            boxes = walk.root / relative_name(settings.boxes, "boxes")
            add_boxes(listing, boxes, Placer(settings, "stored", walk.faults), walk)
        if table.delimiter and not settings.delimiter:
            listing.notes.append(f"{path.name}: cells are divided by {DELIMITERS[table.delimiter]}")
        if not table.rows:
            walk.faults.add(f"{path}: no image is listed")
        listing.notes += [*repeated_captions(pictures.values()), *unlisted(walk, set(pictures))]
        return listing


def find_table(walk: Walk) -> str:
    """Return the name of the only table in the folder; ValueError for none or several."""
    names = [path.name for path in walk.entries(walk.root) if path.suffix.lower() in TABLES and path.suffix.lower() != ".txt"]
    if len(names) != 1:
        several = f"{len(names)} tables ({', '.join(names[:5])})" if names else "no table (.csv, .tsv, .parquet)"
        raise ValueError(f"{walk.root}: {several}; table: names the one to read")
    return names[0]


def _header(header: list[str], settings: Table.Settings, path: Path) -> list[str]:
    """Return the table's header in our names, "" for columns to leave out. ValueError for a name that is missing or wrong."""
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        raise ValueError(f"{path}: the column {twice[0]!r} stands twice in the header")
    own = {getattr(settings, role): role for role in ROLES}
    required = {getattr(settings, role) for role in ROLES if role in settings.model_fields_set} | {settings.file}
    for column in sorted({*required, *(settings.columns or ())} - set(header)):
        hint = "; file: names the column with the pictures' names" if column == settings.file else ""
        raise ValueError(f"{path}: no column {column!r}; the header is {', '.join(header) or 'empty'}{hint}")
    further = [column for column in header if column not in ROLES and column in (settings.columns or header)]
    taken = [own.get(column, column if column in further and settings.columns != () else "") for column in header]
    if reserved := sorted(set(taken) & set(RESERVED) - set(OWN)):
        raise ValueError(f"{path}: {reserved[0]!r} cannot be a column's name: it has a meaning of its own in a dataset")
    if wrong := [column for column in taken if column and not re.fullmatch(NAME, column)]:
        hint = "columns: names those to take" if settings.columns is None else "rename it"
        raise ValueError(f"{path}: {wrong[0]!r} cannot be a column's name: letters a-z, digits and _, a letter first; {hint}")
    return taken


def _base(settings: Table.Settings, path: Path, table: Rows, header: list[str], walk: Walk) -> str:
    """Return the folder that files are relative to, "" for ``path``."""
    if settings.images is not None:
        images = settings.images.rstrip("/")
        return "" if images in ("", ".") else relative_name(images, "images")
    beside = path.parent.relative_to(walk.root).as_posix()
    first = str(table.rows[0][1][header.index("file")]) if table.rows else ""
    there = beside != "." and (walk.root / file_name(first, settings.suffix, beside)).is_file()
    return beside if there else ""


def _cells(table: Rows, header: list[str], walk: Walk) -> list[tuple[str, dict[str, Cell]]]:
    """Return (where, column -> cell) of the rows without empty cells, which become faults, as do unknown splits."""
    rows = []
    for where, values in table.rows:
        cells = {column: value for column, value in zip(header, values, strict=True) if column}
        faults = [f"no {column}" for column, value in cells.items() if value in ("", []) and column != "labels"]
        if cells.get("split"):
            split = split_of(str(cells["split"]).strip())
            faults += [] if split else [f"the split {cells['split']!r} is not allowed: {', '.join(SPLITS)}"]
            cells["split"] = split or ""
        for fault in faults:
            walk.faults.add(f"{where}: {fault}")
        if not faults:
            rows.append((where, cells))
    return rows
