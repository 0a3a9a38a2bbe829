"""Detect objects in batches of pictures, in pixels of the original files; write a row per object."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from components.registry.monitor.incoming import read
from components.registry.predict.classify import Prediction
from components.registry.predict.pictures import Picture
from components.registry.predict.tables import replaced

COLUMNS = ("file", "label", "score", "x_min", "y_min", "x_max", "y_max")
SIDE = 256  # pixels of a picture that boxes are drawn on
COLOURS = ((220, 50, 47), (38, 139, 210), (133, 153, 0), (211, 54, 130), (203, 75, 22), (42, 161, 152))


@dataclass(frozen=True)
class Objects:
    """The objects of one picture, best first: ``labels``, ``scores`` [n], ``boxes`` [n, 4] in pixels of the file.

    ``confidence``: the best score of the picture, also if it is below the threshold; ``shown``: the pixels with their boxes.
    """

    file: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, ...], ...]
    confidence: float
    shown: np.ndarray

    @property
    def prediction(self) -> Prediction:
        """How the page of the surest and the least sure names it."""
        return Prediction(self.file, f"{len(self.labels)} objects, best", self.confidence, ())


def detect(served: Any, batches: Iterable[tuple[list[Picture], np.ndarray]], threshold: float) -> Iterator[list[Objects]]:
    """Yield the objects of each batch whose score is at least ``threshold``."""
    for pictures, pixels in batches:
        size = np.array([served.size_of(read(picture.path)) for picture in pictures])
        outputs = served.predict({"image": pixels, "size": size})
        _, windows, _ = served.placed(size, len(pixels))
        rows = [{name: array[row] for name, array in outputs.items()} for row in range(len(pixels))]
        found = zip(pictures, pixels, windows, rows, strict=True)
        yield [_objects(picture.name, shown, window, row, threshold) for picture, shown, window, row in found]


def _objects(file: str, pixels: np.ndarray, window: np.ndarray, row: dict[str, np.ndarray], threshold: float) -> Objects:
    rows = row["scores"] >= threshold
    labels, kept = tuple(map(str, row["class_names"][rows])), row["boxes"][rows]
    return Objects(
        file,
        labels,
        tuple(row["scores"][rows].tolist()),
        tuple(tuple(round(side, 2) for side in box) for box in kept.tolist()),
        float(row["confidence"]),
        _drawn(pixels, (kept - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2), labels),
    )


def _drawn(pixels: np.ndarray, boxes: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """The picture at ``SIDE`` pixels with boxes [n, 4], relative to it, in the colours of their classes."""
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    scale = SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    for box, label in zip(boxes * np.tile(picture.size, 2), labels, strict=True):
        colour = COLOURS[sum(label.encode()) % len(COLOURS)]
        draw.rectangle([float(side) for side in box], outline=colour, width=3)
    return np.asarray(picture)


Write = Callable[[list[Objects]], None]


@contextmanager
def object_tables(csv_file: Path, jsonl_file: Path | None = None) -> Iterator[Write]:
    """Yield a function that appends objects to both files. An error leaves earlier files as they were.

    CSV: a row per object, and one with empty cells for a picture without any; JSON: a line per picture.
    """
    with ExitStack() as stack:
        rows = csv.writer(stack.enter_context(replaced(csv_file)), lineterminator="\n")
        rows.writerow(COLUMNS)
        lines = stack.enter_context(replaced(jsonl_file)) if jsonl_file else None

        def write(pictures: list[Objects]) -> None:
            for picture in pictures:
                found = list(zip(picture.labels, picture.scores, picture.boxes, strict=True))
                rows.writerows([picture.file, label, f"{score:.6f}", *box] for label, score, box in found)
                if not found:
                    rows.writerow([picture.file] + [""] * (len(COLUMNS) - 1))
                if lines is not None:
                    objects = [{"label": label, "score": score, "box": box} for label, score, box in found]
                    lines.write(json.dumps({"file": picture.file, "objects": objects}) + "\n")

        yield write
