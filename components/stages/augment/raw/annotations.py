"""Read and check a dataset's annotations: captions, several classes per picture, boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ANNOTATIONS = ("text", "labels", "boxes", "box_label", "box_image")  # keys of an entry of dataset.json
OUTSIDE = 1e-4  # of the picture: how far rounding may put a box beyond its edge


@dataclass(frozen=True)
class RawBoxes:
    """All boxes of a split. ``boxes`` float32 [B, 4], (cx, cy, w, h) relative to the picture; ``label`` int64 [B];

    ``image`` int64 [B], ascending: the picture that the box belongs to.
    """

    boxes: np.ndarray
    label: np.ndarray
    image: np.ndarray

    def of(self, picture: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (boxes [b, 4], labels [b]) of one picture."""
        first, last = np.searchsorted(self.image, [picture, picture + 1])
        return self.boxes[first:last], self.label[first:last]


@dataclass(frozen=True)
class Annotations:
    """Annotations of N pictures. ``texts``: one caption or a list of captions each; ``labels``: float32 [N, K]; or None."""

    texts: list[str] | list[list[str]] | None = None
    labels: np.ndarray | None = None
    boxes: RawBoxes | None = None

    @property
    def class_keys(self) -> tuple[str, ...]:
        """Keys of the dataset's class names that belong to annotations."""
        given = {"labels": self.labels, "box_label": self.boxes}
        return tuple(key for key, value in given.items() if value is not None)


def read_annotations(folder: Path, entry: dict[str, Any], count: int) -> Annotations:
    """Read the annotations of ``count`` pictures. ValueError names a file whose type or length is wrong."""
    texts = json.loads((folder / entry["text"]).read_text(encoding="utf-8")) if "text" in entry else None
    if texts is not None and len(texts) != count:
        raise ValueError(f"{folder / entry['text']}: {len(texts)} texts for {count} images")
    labels = load_array(folder / entry["labels"], np.float32) if "labels" in entry else None
    if labels is not None and (labels.ndim != 2 or len(labels) != count):
        raise ValueError(f"{folder / entry['labels']}: shape {labels.shape}, expected [{count}, classes]")
    present = [key for key in ("boxes", "box_label", "box_image") if key in entry]
    if len(present) not in (0, 3):
        raise ValueError(f"{folder}/dataset.json: boxes need 'boxes', 'box_label' and 'box_image'; found {', '.join(present)}")
    return Annotations(texts, labels, _read_boxes(folder, entry, count) if present else None)


def _read_boxes(folder: Path, entry: dict[str, Any], count: int) -> RawBoxes:
    boxes = load_array(folder / entry["boxes"], np.float32)
    label, image = (load_array(folder / entry[key], np.int64) for key in ("box_label", "box_image"))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{folder / entry['boxes']}: shape {boxes.shape}, expected [boxes, 4]")
    for key, array in (("box_label", label), ("box_image", image)):
        if array.shape != (len(boxes),):
            raise ValueError(f"{folder / entry[key]}: shape {array.shape} for {len(boxes)} boxes")
    if len(image) and (np.any(np.diff(image) < 0) or image[0] < 0 or image[-1] >= count):
        raise ValueError(f"{folder / entry['box_image']}: indices of {count} images are expected, in ascending order")
    return RawBoxes(boxes, label, image)


def load_array(path: Path, dtype: type) -> Any:
    """Map the array of a .npy file. ValueError if it is broken or of another type."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a whole .npy file: {error}") from None
    if array.dtype != dtype:
        raise ValueError(f"{path}: {array.dtype}, expected {np.dtype(dtype)}")
    return np.asarray(array)  # still memory mapped, but a plain array to index


def check_annotations(given: Annotations, classes: dict[str, tuple[str, ...]], name: Callable[[int], str], where: str) -> None:
    """Raise ValueError for invalid annotations; it names the picture and the box."""
    if given.texts is not None:
        _check_texts(given.texts, name, where)
    if given.labels is not None:
        _check_labels(given.labels, classes["labels"], name, where)
    if given.boxes is not None:
        _check_boxes(given.boxes, len(classes["box_label"]), name, where)


def _check_texts(texts: list[Any], name: Callable[[int], str], where: str) -> None:
    single = isinstance(texts[0], str) if texts else True
    for index, text in enumerate(texts):
        if isinstance(text, str) != single:
            raise ValueError(f"{where}: some texts are strings and some are lists of captions")
        captions = [text] if single else text
        if not isinstance(captions, list) or not captions or not all(isinstance(caption, str) for caption in captions):
            raise ValueError(f"{where}: {name(index)} has the captions {text!r}; a list of at least one string is expected")


def _check_labels(labels: np.ndarray, classes: tuple[str, ...], name: Callable[[int], str], where: str) -> None:
    if labels.shape[1] != len(classes):
        raise ValueError(f"{where}: labels have the shape {labels.shape}, but there are {len(classes)} classes")
    wrong = np.flatnonzero(~((labels >= 0) & (labels <= 1)).all(axis=1))  # NaN too
    if len(wrong):
        raise ValueError(f"{where}: labels of {name(int(wrong[0]))} are not all from 0 to 1")


def _check_boxes(given: RawBoxes, classes: int, name: Callable[[int], str], where: str) -> None:
    boxes = given.boxes.astype(np.float64)
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    faults = {
        "has no area": ~(boxes[:, 2:] > 0).all(axis=1),
        "is not inside the picture": ~((low >= -OUTSIDE) & (high <= 1 + OUTSIDE)).all(axis=1),
        f"has a label that is not from 0 to {classes - 1}": (given.label < 0) | (given.label >= classes),
    }
    for fault, rows in faults.items():
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            numbers = ", ".join(f"{value:.6g}" for value in given.boxes[row])
            box = f"the box (cx, cy, w, h) = ({numbers}) with label {given.label[row]}"
            raise ValueError(f"{where}: {name(int(given.image[row]))}: {box} {fault}")
