"""Source ``handwriting_files``: handwritten Chinese in the formats in which it is published, zip archives read in place.

``.gnt`` (CASIA-HWDB 1), ``.dgrl`` (CASIA-HWDB 2), ``.pot`` (CASIA-OLHWDB 1), ``.hcl`` (HCL2000), ``<writer>_images`` and
``<writer>_vectors`` (HIT-OR3C). Column "label" is the character, "group" the writer; lines and pages have captions instead.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator

from components.core.config.strict import NAME
from components.stages.fetch.dataset_files import RESERVED
from components.stages.fetch.files.names import relative_name
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, in_order
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.tables.rows import read_rows
from components.stages.fetch.handwriting.codes import level_1
from components.stages.fetch.handwriting.collect import Collector
from components.stages.fetch.handwriting.find import LABELS, READ, find_places, is_handwriting, published_split

LEVEL_1 = "gb2312_level_1"
FORMS = f"{', '.join(READ)}, <writer>_images, <writer>_vectors, alone or in .zip"


class HandwritingFiles(Own):
    """Characters as files of varying size, dark on white, or pen strokes; columns "label" and "group", or captions."""

    class Settings(OwnSettings):
        characters: str | None = Field(
            default=None,
            min_length=1,
            description=f"The characters to take, as one text, or {LEVEL_1} for the 3,755 of its first level. Default: all.",
        )
        unit: Literal["line", "page"] = Field(
            default="line", description="What a picture of .dgrl is: a line of text, or a page."
        )
        writer: str = Field(
            default=r"^([^-_.]+)",
            description="Pattern whose first group finds the writer in a file's name: 001 in 001-f.gnt, hh001 in hh001.hcl.",
        )
        writers: str | None = Field(
            default=None,
            description="Table (CSV, TSV) in `path` with a column writer and further ones, such as age and occupation, which "
            "become columns of the data set.",
        )
        unknown_codes: Literal["error", "skip"] = Field(
            default="error", description="Samples whose code is no character of GB 18030 are an error, or left out and counted."
        )
        broken_files: Literal["error", "cut"] = Field(
            default="error", description="Files that break off are an error, or read up to the break, which is named."
        )
        similar_names: Literal["error", "accept"] = Field(
            default="accept",
            description="Classes that differ only by case, such as the letters A and a, are different classes.",
        )

        @field_validator("writer")
        @classmethod
        def _has_one_group(cls, pattern: str) -> str:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from None
            if groups < 1:
                raise ValueError("a group in parentheses is expected, which is the writer")
            return pattern

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        if file is not None:
            return None
        return {} if any(is_handwriting(place) for place in find_places(walk)) else None

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, HandwritingFiles.Settings)
        places = find_places(walk)
        collector = Collector(
            walk.faults,
            re.compile(settings.writer),
            only=_characters(settings.characters),
            unit=settings.unit,
            skip_unknown=settings.unknown_codes == "skip",
            cut=settings.broken_files == "cut",
            people=_people(settings.writers, walk) if settings.writers else None,
        )
        listing = Listing({})
        for place in (place for place in places if not LABELS.match(PurePosixPath(place.name).name)):
            listing.splits.setdefault(published_split(place), []).extend(collector.collect(place, places))
        _check(listing, walk)
        pictures = [picture for part in listing.splits.values() for picture in part]
        for column in pictures[0].columns if pictures else ():
            listing.classes[column] = in_order(picture.columns[column] for picture in pictures)
        listing.captions = bool(pictures) and bool(pictures[0].captions)
        listing.notes = collector.conclude()
        return listing


def _check(listing: Listing, walk: Walk) -> None:
    """Add the faults of an empty folder, of files with and without a split, and of characters beside lines."""
    if not listing.splits and not walk.faults.lines:
        walk.faults.add(f"{walk.root}: no handwriting: {FORMS}")
    if "all" in listing.splits and len(listing.splits) > 1:
        names = ", ".join(picture.name.rpartition("/")[0] for picture in listing.splits["all"][:1])
        walk.faults.add(f"{walk.root}: {names}: of no split, beside others; put it in a folder train, validation or test")
    kinds = {tuple(picture.columns) for part in listing.splits.values() for picture in part}
    if len(kinds) > 1:
        walk.faults.add(
            f"{walk.root}: characters and lines of text in one data set; give each a folder and a data set of its own"
        )


def _characters(wanted: str | None) -> frozenset[str] | None:
    if wanted is None:
        return None
    return frozenset(code.decode("gb2312") for code in level_1()) if wanted == LEVEL_1 else frozenset(wanted)


def _people(name: str, walk: Walk) -> dict[str, dict[str, str]]:
    """Return writer -> column -> value of the table. ValueError for a table without writers, or a name that is no column's."""
    path = walk.root / relative_name(name, "writers")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; writers: names a table in `path`")
    table = read_rows(path, walk, "utf-8", None)
    if "writer" not in table.header:
        raise ValueError(f"{path}: no column 'writer'; the header is {', '.join(table.header)}")
    for column in table.header:
        if column != "writer" and (not re.fullmatch(NAME, column) or column in (*RESERVED, "label", "group")):
            raise ValueError(f"{path}: {column!r} cannot be a column's name: letters a-z, digits and _, a letter first")
    people: dict[str, dict[str, str]] = {}
    for where, cells in table.rows:
        row = {column: str(cell).strip() for column, cell in zip(table.header, cells, strict=True)}
        if not all(row.values()):
            raise ValueError(f"{where}: an empty cell")
        if people.setdefault(row.pop("writer"), row) != row:
            raise ValueError(f"{where}: a writer stands twice, with other values")
    return people
