"""Write some encoded pictures as they are in the dataset: an export plays them to prove its own decoding (golden pictures).

``samples.json`` lists {file, name, split, row}: decoded by the view's settings, the file gives the pixels of this row of the
split's arrays, to the bit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from components.core.files import write_atomically, write_json
from components.stages.augment.contact import pick
from components.stages.augment.divide import Divided
from components.stages.augment.raw.layouts import RawSplit
from components.stages.views.strokes import is_strokes

SAMPLES = 4
MAX_BYTES = 2**20  # of a sample, which every export ships; a larger file is replaced by the view's pixels
SPLITS = ("validation", "test", "train")  # in order of preference


def write_samples(folder: Path, raw: Mapping[str, RawSplit], data: Divided, *, corrupted: bool) -> None:
    """Write the samples, of different classes if possible. ``corrupted``: the view's pixels are no longer the pictures'."""
    split = next(split for split in SPLITS if split in data.splits)
    rows, table = data.splits[split], data.table
    labels = table.columns[data.primary][rows] if data.primary else np.zeros(len(rows), dtype=np.int64)
    entries: list[dict[str, str | int]] = []
    for place in pick(labels, SAMPLES).tolist():
        row = int(rows[place])
        content, suffix = _encoded(raw, row, table.names[row], table.images[row], corrupted=corrupted)
        file = f"{len(entries) + 1}{suffix}"
        folder.mkdir(exist_ok=True)
        write_atomically(folder / file, content)
        entries.append({"file": file, "name": table.names[row], "split": split, "row": place})
    write_json(folder / "samples.json", entries, ensure_ascii=False)


def _encoded(raw: Mapping[str, RawSplit], row: int, name: str, pixels: np.ndarray, *, corrupted: bool) -> tuple[bytes, str]:
    """Return a picture's file and its suffix: its own bytes, or PNG of its array or of the view's ``pixels`` [H, W, C]."""
    picture = picture_of(raw, row)
    if corrupted or (isinstance(picture, bytes) and (len(picture) > MAX_BYTES or is_strokes(picture))):
        picture = pixels
    if isinstance(picture, bytes):
        suffix = Path(name).suffix.lower()
        return picture, suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""
    return png(picture), ".png"


def picture_of(raw: Mapping[str, RawSplit], row: int) -> np.ndarray | bytes:
    """Read the picture of a row of the table, which has all splits one after the other."""
    for part in raw.values():
        if row < len(part):
            return part.picture(row)
        row -= len(part)
    raise AssertionError(row)


def png(pixels: np.ndarray) -> bytes:
    """Encode uint8 [H, W], [H, W, 1] or [H, W, 3] as PNG."""
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels)).save(file, "PNG")
    return file.getvalue()
