"""All images of a dataset, decoded in one pass into a memory map, with what is known of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.core.strict import SettingsError
from components.stages.augment.decode import decode_array, decode_file
from components.stages.augment.layouts import RawSplit
from components.stages.augment.policies import ViewSettings

Classes = dict[str, tuple[str, ...]]
NAMED = 5  # how many files an error names


@dataclass(frozen=True)
class Table:
    """One row an image, in the dataset's order.

    ``images`` uint8 [N, size, size, C], memory mapped; ``columns`` int64 [N]; ``digests`` of the decoded pixels; ``names`` for
    errors; ``published``: the dataset's split -> its readable rows; ``unreadable``: names of the others.
    """

    images: np.ndarray
    columns: dict[str, np.ndarray]
    texts: list[str] | None
    names: list[str]
    digests: list[bytes]
    published: dict[str, np.ndarray]
    unreadable: list[str]


def decode_all(raw: dict[str, RawSplit], settings: ViewSettings, scratch: Path) -> Table:
    """Decode every picture into a memory map at ``scratch``; ValueError names the files that cannot be read."""
    shape = (sum(len(split) for split in raw.values()), settings.image_size, settings.image_size, settings.channels)
    images = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
    digests: list[bytes] = []
    names: list[str] = []
    unreadable: list[str] = []
    published = {}
    for split, part in raw.items():
        start = len(digests)
        names += [part.name(index) for index in range(len(part))]
        for picture in part.pictures():
            row = len(digests)
            try:
                images[row] = decode_file(picture, settings) if isinstance(picture, bytes) else decode_array(picture, settings)
                digests.append(hashlib.sha256(images[row].tobytes()).digest())
            except ValueError as error:
                unreadable.append(_report(names[row], error, unreadable, settings))
                digests.append(b"")
        published[split] = np.array([row for row in range(start, len(digests)) if digests[row]], dtype=np.int64)
    if unreadable and settings.unreadable == "error":
        raise ValueError(_too_bad(unreadable))
    parts = list(raw.values())
    columns = {column: np.concatenate([part.columns[column] for part in parts]) for column in parts[0].columns}
    texts = [text for part in parts for text in part.texts or ()]
    return Table(np.asarray(images), columns, texts or None, names, digests, published, unreadable)


def _report(name: str, error: ValueError, before: list[str], settings: ViewSettings) -> str:
    """What to keep of an unreadable file; with ``unreadable: error`` the pass ends when enough files can be named."""
    if settings.unreadable == "skip":
        return name
    report = f"{name} ({error})"
    if len(before) + 1 == NAMED:
        raise ValueError(_too_bad([*before, report]) + "; perhaps more")
    return report


def _too_bad(unreadable: list[str]) -> str:
    return f"unreadable images (unreadable: skip leaves them out): {'; '.join(unreadable)}"


def choose_columns(table: Table, classes: Classes, settings: ViewSettings, key: str) -> tuple[Table, Classes]:
    """Table and class names with the columns that the settings name as ``label`` and as ``domain``.

    A dataset without a column ``label``, or without ``domain``, has none if the settings name no other.
    """
    columns, names = dict(table.columns), dict(classes)
    for role, column in (("label", settings.label), ("domain", settings.domain)):
        if column in table.columns:
            columns[role], names[role] = table.columns[column], classes[column]
        elif column != role or (role == "label" and settings.domain not in table.columns):
            raise SettingsError(f"{key}.{role}: {column!r} is not allowed: the dataset has {', '.join(sorted(table.columns))}")
    return replace(table, columns=columns), names
