"""What stage 1 leaves behind: ``dataset.json`` and the files that it names, the same bytes for the same data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.core.files import write_atomically

INDEX = "dataset.json"

Layout = Literal["arrays", "idx", "cifar10", "files"]


def write_index(out: Path, layout: Layout, splits: dict[str, dict[str, Any]], classes: dict[str, Sequence[str]]) -> None:
    """Write dataset.json: the layout, split -> what holds it, and label column -> class names in index order."""
    facts = {"layout": layout, "splits": splits, "classes": {column: list(names) for column, names in classes.items()}}
    write_atomically(out / INDEX, (json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_arrays(out: Path, split: str, columns: dict[str, np.ndarray], text: Sequence[str] | None = None) -> dict[str, str]:
    """Write a split of layout "arrays"; returns its entry in dataset.json.

    ``columns``: "image" uint8 [N, H, W] or [N, H, W, C] and integer columns int64 [N]; ``text``: N captions or None.
    """
    entry = {}
    for column, array in columns.items():
        assert array.dtype == (np.uint8 if column == "image" else np.int64), (column, array.dtype)
        assert len(array) == len(columns["image"]), column
        entry[column] = f"{split}.{column}.npy"
        np.save(out / entry[column], array, allow_pickle=False)
    if text is not None:
        assert len(text) == len(columns["image"])
        entry["text"] = f"{split}.text.json"
        write_atomically(out / entry["text"], (json.dumps(list(text), ensure_ascii=False, indent=0) + "\n").encode())
    return entry


def summary(out: Path) -> str:
    """One line on the dataset in ``out``: layout, splits, classes a column, size."""
    facts = json.loads((out / INDEX).read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in out.iterdir())
    classes = ", ".join(f"{len(names)} {column} classes" for column, names in facts["classes"].items())
    return f"{facts['layout']}, splits {' + '.join(facts['splits'])}, {classes}, {size / 1e6:.1f} MB"
