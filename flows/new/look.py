"""Look at a folder or file of pictures: its layout, sizes and colours, and everything that a training would stumble over."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from components.stages.fetch.recognise import Recognised

MAX_DECODED = 2000  # pictures, evenly spaced, that are decoded before anything is written
SIDE = 64  # pixels to which they are decoded
GREY = 6  # largest difference between the channels of a grey picture that was saved in colour
MIN_PICTURES, MIN_A_CLASS = 20, 3
NAMED = 20  # faults of a kind that are named
READS_FILES = ("folder", "table", "coco", "voc", "yolo")  # sources of single files; the others hold pictures in archives


@dataclass(frozen=True)
class Pictures:
    """What the rules read. ``source``, ``path``, ``settings``: the dataset's block; ``classes``: name -> pictures, or None.

    ``splits``: published ones, beside "all"; ``short_side``, ``aspect`` (long / short): medians in pixels; ``grey``: every
    decoded picture is; ``faults``: lines, one a fault; ``boxes``: class -> boxes, or None; ``most_boxes``: of one picture;
    ``box_sides``: quantiles 0.1, 0.25, 0.5, 0.75 of the square root of a box's share of its picture; ``wide``: width / height;
    ``notes``: what the source changed; ``captions``: whether pictures have some.
    """

    source: str
    path: Path
    settings: dict[str, Any]
    classes: dict[str, int] | None
    splits: tuple[str, ...]
    number: int
    short_side: int
    aspect: float
    grey: bool
    decoded: int
    faults: tuple[str, ...]
    boxes: dict[str, int] | None = None
    most_boxes: int = 0
    box_sides: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    wide: float = 1.0
    notes: tuple[str, ...] = ()
    captions: bool = False


def look(path: Path) -> Pictures:
    """Recognise the layout, decode the pictures, and collect all faults. Opens files, and changes none."""
    from components.stages.fetch.recognise import recognise

    recognised = recognise(path)
    settings = dict(recognised.settings)
    folder = Path(settings.pop("path", path))
    files = picture_files(folder) if folder.is_dir() and recognised.source in READS_FILES else []
    broken, grey = decode_all(files, folder)
    sizes = [(min(size), max(size)) for size in recognised.sizes] or [(SIDE, SIDE)]
    known = [*shortened(list(recognised.faults), "faults"), *faults_of(recognised)]
    return Pictures(
        source=recognised.source,
        path=folder,
        settings=settings,
        classes=recognised.classes,
        splits=tuple(name for name in recognised.splits if name != "all"),
        number=recognised.files,
        short_side=round(median(short for short, _ in sizes)),
        aspect=round(median(long / short for short, long in sizes), 2),
        grey=grey,
        decoded=min(len(files), MAX_DECODED),
        boxes=recognised.boxes,
        most_boxes=recognised.most_boxes,
        notes=tuple(recognised.notes),
        captions=recognised.captions,
        box_sides=quantiles(recognised.box_sides),
        wide=median(width / height for width, height in recognised.sizes or [(1, 1)]),
        faults=tuple(known + [line for line in broken if not any(line.partition(": ")[0] in other for other in known)]),
    )


def picture_files(folder: Path) -> list[Path]:
    """Return all picture files below ``folder`` by their suffix, sorted."""
    from components.registry.monitor.incoming import incoming

    return [Path(os.fsdecode(name)) for name in incoming(folder) if b"/__MACOSX/" not in name]


def decode_all(files: Sequence[Path], folder: Path) -> tuple[list[str], bool]:
    """Decode at most ``MAX_DECODED`` pictures as a view does; return the faults, and whether all are grey.

    A fault begins with the file's name in ``folder``.
    """
    from tqdm import tqdm

    step = max(1, -(-len(files) // MAX_DECODED))
    chosen, faults, grey = files[::step], [], bool(files)
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:
        results = tqdm(
            pool.map(_is_grey, chosen), total=len(chosen), unit=" pictures", disable=not sys.stderr.isatty(), leave=False
        )
        for file, result in zip(chosen, results, strict=True):
            if isinstance(result, str):
                faults.append(f"{os.path.relpath(file, os.path.abspath(folder))}: {result}")
            else:
                grey &= result
    return shortened(faults, "unreadable pictures"), grey


def _is_grey(file: Path) -> bool | str:
    """Return whether the picture is grey, or why it cannot be decoded."""
    from components.serving.decoding import Preparation, decode_picture

    try:
        pixels = decode_picture(file.read_bytes(), Preparation((SIDE, SIDE), (SIDE, SIDE), 3)).astype(np.int16)
    except (OSError, ValueError) as error:
        return str(error)
    return int(np.ptp(pixels, axis=2).max()) <= GREY


def faults_of(recognised: Recognised) -> list[str]:
    """Return the faults of numbers and names: too few pictures, one class, classes with few."""
    faults = []
    if recognised.files < MIN_PICTURES:
        faults.append(f"{recognised.files} pictures: at least {MIN_PICTURES} are needed, to train, to validate and to test")
    if recognised.classes is None:
        return faults + faults_of_boxes(recognised)
    if len(recognised.classes) < 2:
        names = ", ".join(recognised.classes) or "none"
        faults.append(f"{len(recognised.classes)} class ({names}): a classifier needs at least 2, each in a folder of its own")
    counts = recognised.classes.items()
    few = [
        f"class {name!r} has {count} of the {MIN_A_CLASS} pictures it needs" for name, count in counts if count < MIN_A_CLASS
    ]
    return faults + shortened(few, "classes with too few pictures")


def faults_of_boxes(recognised: Recognised) -> list[str]:
    """Return the fault of a folder whose annotations are boxes, if there are none; a rare class is none: COCO has many."""
    if recognised.boxes is None or recognised.faults or sum(recognised.boxes.values()):
        return []
    return ["no boxes in any picture: there is nothing to learn to find"]


def quantiles(sides: list[float]) -> tuple[float, float, float, float]:
    """Return the quantiles 0.1, 0.25, 0.5, 0.75; 1 of nothing."""
    tenth, quarter, middle, upper = np.quantile(sides or [1.0], (0.1, 0.25, 0.5, 0.75)).tolist()
    return tenth, quarter, middle, upper


def shortened(lines: list[str], what: str) -> list[str]:
    """Keep the first ``NAMED`` lines, and count the rest."""
    rest = len(lines) - NAMED
    return lines if rest <= 0 else [*lines[:NAMED], f"... and {rest} more {what}"]
