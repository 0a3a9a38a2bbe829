"""Parse untrusted JSON and XML: limited in size and depth, without entities; every error names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from components.stages.fetch.files.walk import Walk

MAX_JSON = 4 * 2**30  # bytes; COCO's instances_train2017.json has 449 MB
MAX_XML = 2**24
DEPTH = 50  # of elements in elements


def read_json(walk: Walk, path: Path) -> dict[str, Any]:
    """Read a JSON object. ValueError names the file."""
    try:
        content = json.loads(walk.read(path, MAX_JSON))
    except (OSError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a JSON object is expected, found {type(content).__name__}")
    return content


def parse_xml(data: bytes, where: str) -> Element:
    """Parse XML without document types, which define entities that expand without limit or read other files."""
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            raise ValueError(f"{where}: elements are nested more than {DEPTH} deep")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise ValueError(f"{where}: a document type (<!DOCTYPE) is refused")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"{where}: not readable as XML: {error}") from None
    return builder.close()
