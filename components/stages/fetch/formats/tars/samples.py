"""Samples of a WebDataset become pictures: the image, and its class, captions and columns from the members beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.stages.fetch.files.pack import Part
from components.stages.fetch.files.pictures import Picture
from components.stages.fetch.files.suffixes import FORMATS, MAX_BYTES, unsupported
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.classes import class_of
from components.stages.fetch.formats.tars.shards import Sample, read_small


@dataclass(frozen=True)
class SampleReader:
    """A reader of samples. ``roles``: column, caption or labels -> its place; ``image``: the pictures' extension, or None.

    ``names``: class names by number, or None.
    """

    roles: dict[str, str]
    image: str | None
    names: list[str] | None
    walk: Walk

    def picture(self, path: Path, sample: Sample) -> Picture | None:
        """Return the picture of a sample of the tar ``path``; None for an invalid one, which becomes a fault."""
        key, parts = sample
        where = f"{path}: {key}"
        try:
            extension = _image(parts, self.image, where)
            shard = path.relative_to(self.walk.root).with_suffix("").as_posix()
            picture = Picture(f"{shard}/{key}.{extension}", parts[extension])
            for role, place in self.roles.items():
                self._add(picture, role, _value(parts, place, where))
            return picture
        except ValueError as error:
            self.walk.faults.add(str(error) if str(error).startswith(where) else f"{where}: {error}")
            return None

    def _add(self, picture: Picture, role: str, value: Any) -> None:
        items = value if isinstance(value, list) else [value]
        if role == "caption":
            picture.captions = [str(item).strip() for item in items]
        elif role == "labels":
            picture.labels = tuple(class_of(item, self.names) for item in items)
        else:
            picture.columns[role] = class_of(value, self.names if role == "label" else None)


def _image(parts: dict[str, Part], chosen: str | None, where: str) -> str:
    """Return the extension of the sample's picture. ValueError for none, several, one that is too large or not decoded here."""
    found = [extension for extension in parts if (extension == chosen if chosen else f".{extension}" in FORMATS)]
    if len(found) != 1:
        several = f"several pictures ({', '.join(found)}); image: chooses one" if found else "no picture"
        raise ValueError(f"{where}: {several}; it has {', '.join(parts)}")
    if f".{found[0]}" in FORMATS and (reason := unsupported(f".{found[0]}")):
        raise ValueError(f"{where}.{found[0]}: {reason}")
    if parts[found[0]].size > MAX_BYTES:
        raise ValueError(f"{where}.{found[0]}: more than {MAX_BYTES:,} bytes")
    return found[0]


def _value(parts: dict[str, Part], place: str, where: str) -> Any:
    """Return the text of a member, or the value at "json.<key>" of the document. ValueError if it is missing."""
    extension, _, key = place.partition(".")
    if extension not in parts:
        raise ValueError(f"{where}: no .{extension}")
    if extension != "json" or not key:
        try:
            return read_small(parts[extension], where).decode().strip()
        except UnicodeDecodeError:
            raise ValueError(f"{where}.{extension}: no UTF-8 text") from None
    document = read_document(parts, where)
    if key not in document:
        raise ValueError(f"{where}.json: no key {key!r}; it has {', '.join(map(str, document))}")
    return document[key]


def read_document(parts: dict[str, Part], where: str) -> dict[str, Any]:
    """Return the JSON object of a sample. ValueError if it is none."""
    try:
        content = json.loads(read_small(parts["json"], where))
    except (UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}.json: not readable as JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where}.json: a JSON object is expected")
    return content
