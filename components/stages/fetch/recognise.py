"""Recognise how a folder or file of pictures is laid out, and which source with which settings reads it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core import catalogue
from components.core.config.strict import parse
from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.pack import Content
from components.stages.fetch.files.pictures import Listing, Own, Picture, check_listing
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import SIDEWAYS, read_header
from components.stages.views.strokes import SUFFIX

# In the order in which they are tried: a folder of COCO, VOC or YOLO files may also look like folders of classes.
TRIED = ("huggingface", "webdataset", "handwriting_files", "yolo", "voc", "coco", "table", "folder")
SAMPLED = 200  # pictures whose sizes are read
FEW = 0.05  # of the boxes: as many invalid ones are mistakes, which `invalid_boxes: clip` mends; more have another format
CLIP = "; invalid_boxes: clip "  # in the fault of such a box
LAYOUTS = (
    "folders of classes, a table (CSV, TSV, Parquet), COCO, VOC, YOLO, WebDataset, a Hugging Face data set, "
    "handwritten characters (.gnt, .pot, .dgrl, .hcl)"
)


@dataclass(frozen=True)
class Recognised:
    """A layout. ``settings``: keys of the dataset's block, besides ``source``; with ``path`` only if it is another than asked.

    ``classes``: class -> number of pictures, None without a column label; ``boxes``: class -> number of boxes, None without
    boxes; ``most_boxes``: of one picture; ``box_sides``: the square root of each box's share of its picture;
    ``captions``: whether pictures have captions; ``splits``: as published, ("all",) for none; ``files``: the number of
    pictures; ``sizes``: (width, height) as displayed of a sample; ``sample``: those pictures' names and contents;
    ``faults``: all reasons why the source cannot read it; ``notes``: what the source changed, such as boxes that it clipped.
    """

    source: str
    settings: dict[str, Any]
    classes: dict[str, int] | None = None
    splits: tuple[str, ...] = ()
    files: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    boxes: dict[str, int] | None = None
    most_boxes: int = 0
    box_sides: list[float] = field(default_factory=list)
    captions: bool = False
    sample: list[tuple[str, Content]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recognise(path: Path | str) -> Recognised:
    """Look at a folder, or at a file that describes one. Only reads; what is wrong is in ``faults``."""
    place = Path(path).expanduser()
    folder, file = (place, None) if place.is_dir() else (place.parent, place.name)
    if not place.exists():
        return Recognised("folder", {}, faults=[f"{place}: no such file or folder"])
    try:
        source, settings = _guess(folder, file)
    except (OSError, ValueError) as error:
        return Recognised("folder", {}, faults=[str(error)])
    if source is None:
        return Recognised("folder", {}, faults=[f"{place}: not recognised; known are {LAYOUTS}"])
    settings |= {"path": str(folder)} if file else {}
    found = _survey(source, folder, settings)
    few = len(found.faults) <= FEW * sum((found.boxes or {}).values())
    if found.faults and few and all(CLIP in fault for fault in found.faults):
        return _survey(source, folder, settings | {"invalid_boxes": "clip"})
    return found


def _guess(folder: Path, file: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the first source that reads the folder, and its settings."""
    for name in TRIED:
        if name in catalogue.names("source"):
            source: type[Own] = catalogue.load("source", name, "source")
            settings = source.guess(Walk(folder, Faults(folder), follow_links=True), file)
            if settings is not None:
                return name, settings
    return None, {}


def _survey(name: str, folder: Path, settings: dict[str, Any]) -> Recognised:
    """List the pictures as the source does, without packing them."""
    source: type[Own] = catalogue.load("source", name, "source")
    walk = Walk(folder, Faults(folder))
    listing = Listing({})
    try:
        block = parse(source.Settings, {"source": name, "path": str(folder)} | settings, "dataset")
        listing = source.read(block, walk)
        check_listing(listing, walk.faults, similar=False)
    except (OSError, ValueError) as error:
        walk.faults.add(str(error))
    pictures = [picture for part in listing.splits.values() for picture in part]
    sample = pictures[:: max(1, -(-len(pictures) // SAMPLED))]
    return Recognised(
        source=name,
        settings=settings,
        classes=_counts(listing, pictures),
        splits=tuple(listing.splits),
        files=len(pictures),
        sizes=_sizes(sample, walk.faults),
        faults=walk.faults.lines,
        boxes=_box_counts(listing, pictures),
        most_boxes=max((len(picture.boxes) for picture in pictures), default=0),
        box_sides=[math.sqrt(width * height) for picture in pictures for _, (_, _, width, height) in picture.boxes],
        captions=listing.captions,
        sample=[(picture.name, picture.content) for picture in sample],
        notes=listing.notes,
    )


def _counts(listing: Listing, pictures: list[Picture]) -> dict[str, int] | None:
    if "label" not in listing.classes:
        return None
    counts = Counter(picture.columns["label"] for picture in pictures)
    return {name: counts[name] for name in listing.classes["label"]}


def _box_counts(listing: Listing, pictures: list[Picture]) -> dict[str, int] | None:
    if "box_label" not in listing.classes:
        return None
    counts = Counter(name for picture in pictures for name, _ in picture.boxes)
    return {name: counts[name] for name in listing.classes["box_label"]}


def _sizes(sample: list[Picture], faults: Faults) -> list[tuple[int, int]]:
    """Return (width, height) as displayed; a file that is no picture becomes a fault."""
    sizes = []
    for picture in (picture for picture in sample if not picture.name.endswith(SUFFIX)):  # strokes have no size of their own
        try:
            (width, height), orientation = read_header(picture.content)
        except (OSError, ValueError) as error:
            faults.add(f"{picture.name}: {error}")
            continue
        sizes.append((height, width) if orientation in SIDEWAYS else (width, height))
    return sizes
