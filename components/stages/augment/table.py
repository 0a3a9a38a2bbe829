"""Decode all images of a dataset in one pass into memory maps, with their annotations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.serving.placement import Placement
from components.stages.augment.decode import read
from components.stages.augment.notes import Notes
from components.stages.augment.policy.policies import BoxSettings, ViewSettings
from components.stages.augment.raw.layouts import RawSplit
from components.stages.views.frames import Arrays, padded
from components.stages.views.strokes import SUFFIX

Classes = dict[str, tuple[str, ...]]
NAMED = 5  # how many files an error names


@dataclass(frozen=True)
class Table:
    """One row per image, in the dataset's order.

    ``arrays``: inputs of a policy: ``image`` uint8 [N, H, W, C], memory mapped; ``image_mask`` bool [N, H, W] with fit: pad;
    ``boxes`` float32 [N, M, 4], ``box_label`` int64 and ``box_mask`` bool [N, M] if there are boxes; ``columns`` int64 [N];
    ``labels`` float32 [N, K] or None; ``texts``: one caption or a list of them per image, or None; ``digests`` of the decoded
    pixels; ``contents``: SHA-256 of each picture as it is in the dataset, the file's bytes or the array's; ``sizes`` int32
    [N, 2]: its (height, width) there; ``names``: relative file names, or places in an array; ``published``: the dataset's
    split -> its readable rows; ``unreadable``: names of the others.
    """

    arrays: Arrays
    columns: dict[str, np.ndarray]
    labels: np.ndarray | None
    texts: list[Any] | None
    names: list[str]
    digests: list[bytes]
    contents: list[bytes]
    sizes: np.ndarray
    published: dict[str, np.ndarray]
    unreadable: list[str]

    @property
    def images(self) -> np.ndarray:
        """uint8 [N, H, W, C]."""
        return self.arrays["image"]


def decode_all(raw: dict[str, RawSplit], settings: ViewSettings, scratch: Path) -> Table:
    """Decode every picture into memory maps in the folder ``scratch``; ValueError names the files that cannot be read."""
    shape = (sum(len(split) for split in raw.values()), *settings.stored, settings.channels)
    scratch.mkdir()
    images = np.lib.format.open_memmap(scratch / "image.npy", mode="w+", dtype=np.uint8, shape=shape)
    arrays: Arrays = {"image": np.asarray(images)}
    if settings.fit == "pad":
        masks = np.lib.format.open_memmap(scratch / "image_mask.npy", mode="w+", dtype=np.bool_, shape=shape[:3])
        arrays["image_mask"] = np.asarray(masks)
    digests: list[bytes] = []
    contents: list[bytes] = []
    sizes = np.zeros((shape[0], 2), dtype=np.int32)
    names: list[str] = []
    unreadable: list[str] = []
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    published, notes = {}, Notes(settings)
    for split, part in raw.items():
        start = len(digests)
        names += [part.name(index) for index in range(len(part))]
        for index, picture in enumerate(part.pictures()):
            row = start + index
            contents.append(content_digest(picture))
            try:
                decoded = read(picture, settings)
                images[row], placement = decoded.pixels, decoded.placement
                notes.add(names[row], decoded)
            except ValueError as error:
                unreadable.append(_report(names[row], error, unreadable, settings))
                digests.append(b"")
                boxes.append((np.zeros((0, 4), np.float32), np.zeros(0, np.int64)))
                continue
            digests.append(hashlib.sha256(images[row].tobytes()).digest())
            sizes[row] = placement.picture
            if "image_mask" in arrays:
                arrays["image_mask"][row] = placement.mask()
            if part.annotations.boxes is not None:
                boxes.append(_fitting(part.annotations.boxes.of(index), placement, settings))
        published[split] = np.array([row for row in range(start, len(digests)) if digests[row]], dtype=np.int64)
    notes.warn()
    if unreadable and settings.unreadable == "error":
        raise ValueError(_unreadable_message(unreadable))
    parts = list(raw.values())
    if parts[0].annotations.boxes is not None:
        arrays |= padded(boxes)
    columns = {column: np.concatenate([part.columns[column] for part in parts]) for column in parts[0].columns}
    labels = [part.annotations.labels for part in parts if part.annotations.labels is not None]
    texts = [text for part in parts for text in part.annotations.texts or ()]
    return Table(
        arrays,
        columns,
        np.concatenate(labels) if labels else None,
        texts or None,
        names,
        digests,
        contents,
        sizes,
        published,
        unreadable,
    )


def content_digest(picture: np.ndarray | bytes) -> bytes:
    """Compute SHA-256 of a file's bytes, or of an array's shape and bytes."""
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).digest()
    return hashlib.sha256(f"{picture.shape}\n".encode() + picture.tobytes()).digest()


def _fitting(
    given: tuple[np.ndarray, np.ndarray], placement: Placement, settings: ViewSettings
) -> tuple[np.ndarray, np.ndarray]:
    boxes, rows = placement.boxes(given[0], **(settings.boxes or BoxSettings()).model_dump())
    return boxes, given[1][rows]


def _report(name: str, error: ValueError, before: list[str], settings: ViewSettings) -> str:
    """Describe an unreadable file; with ``unreadable: error`` raise when there are enough of them to report."""
    if settings.unreadable == "skip":
        return name
    report = f"{name} ({error})"
    if len(before) + 1 == NAMED:
        raise ValueError(_unreadable_message([*before, report]) + "; perhaps more")
    return report


def _unreadable_message(unreadable: list[str]) -> str:
    return f"unreadable images (unreadable: skip leaves them out): {'; '.join(unreadable)}"


def choose_columns(table: Table, classes: Classes, settings: ViewSettings, key: str) -> tuple[Table, Classes]:
    """Add the columns ``label`` and ``domain`` that the settings select to the table and its class names.

    A dataset without a column ``label`` or ``domain`` has none if the settings select no other. It must have one of them, or
    captions, boxes or several classes per picture.
    """
    columns, names = dict(table.columns), dict(classes)
    described = table.texts is not None or table.labels is not None or "boxes" in table.arrays
    for role, column in (("label", settings.label), ("domain", settings.domain)):
        if column in table.columns:
            columns[role], names[role] = table.columns[column], classes[column]
        elif column != role or (role == "label" and settings.domain not in table.columns and not described):
            raise SettingsError(f"{key}.{role}: {column!r} is not allowed: the dataset has {', '.join(sorted(table.columns))}")
    drawn = any(name.endswith(SUFFIX) for name in table.names)
    for block, given in (("text", table.texts is not None), ("boxes", "boxes" in table.arrays), ("strokes", drawn)):
        if getattr(settings, block) is not None and not given:
            raise SettingsError(f"{key}.{block}: the dataset {settings.dataset!r} has no {block}")
    return replace(table, columns=columns), names
