"""List the pictures of a view: ``names.json`` names every row of its arrays, ``rows.csv`` describes every picture.

``rows.csv`` has a line per picture that is no augmented copy: split, row in the split's arrays, name, content (the first half
of the SHA-256 of the picture as it is in the dataset, so that it does not depend on the view's size), annotations (a digest of
captions, several classes and boxes; empty if there are none), and per column ``class:<column>``, the picture's class in it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from components.core.files import write_json, write_text
from components.stages.augment.divide import Divided
from components.stages.augment.raw.layouts import RawSplit

ORDER = ("train", "validation", "test")  # of the splits in every file


def write_rows(folder: Path, raw: Mapping[str, RawSplit], data: Divided, copies: int) -> None:
    """Write ``names.json`` and ``rows.csv``. ``copies``: augmented copies of the training images, which repeat their names."""
    names = {split: [data.table.names[row] for row in rows] for split, rows in data.splits.items()}
    repeated = {split: names[split] * (1 + copies if split == "train" else 1) for split in names}
    write_json(folder / "names.json", repeated, ensure_ascii=False)
    write_text(folder / "rows.csv", _table(raw, data))


def _table(raw: Mapping[str, RawSplit], data: Divided) -> str:
    text, table = io.StringIO(), data.table
    columns = sorted(table.columns)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "row", "name", "content", "annotations", *(f"class:{column}" for column in columns)])
    annotations = list(_annotations(raw))
    for split in [split for split in ORDER if split in data.splits]:
        for place, row in enumerate(data.splits[split].tolist()):
            classes = [data.classes[column][table.columns[column][row]] for column in columns]
            writer.writerow([split, place, table.names[row], table.contents[row].hex()[:32], annotations[row], *classes])
    return text.getvalue()


def _annotations(raw: Mapping[str, RawSplit]) -> Iterator[str]:
    """Yield a digest of each picture's annotations, in the order of the table; "" for a dataset without."""
    for part in raw.values():
        given = part.annotations
        plain = given.texts is None and given.labels is None and given.boxes is None
        for index in range(len(part)):
            if plain:
                yield ""
                continue
            content = json.dumps(given.texts[index] if given.texts is not None else None).encode()
            arrays = [given.labels[index]] if given.labels is not None else []
            arrays += given.boxes.of(index) if given.boxes is not None else []
            yield hashlib.sha256(content + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]
