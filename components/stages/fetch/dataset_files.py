"""Write a dataset's files deterministically: ``dataset.json`` and the files that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from components.core.files import write_atomically, write_json

INDEX = "dataset.json"

# Reserved names of columns: they have another meaning in an entry of dataset.json or in a batch.
RESERVED = (
    *("image", "archive", "column", "batches", "text", "labels", "boxes", "box_label", "box_image"),
    *("image_mask", "box_mask", "tokens"),
)

Layout = Literal["arrays", "idx", "cifar10", "files"]
Text = Sequence[str] | Sequence[Sequence[str]]
Boxes = Sequence[tuple[Any, Any]]  # per picture: boxes [b, 4] and class indices [b]


def write_index(out: Path, layout: Layout, splits: Mapping[str, Any], classes: Mapping[str, Sequence[str]]) -> None:
    """Write dataset.json: the layout, split -> its files, and label column -> class names in index order.

    ``classes`` also names the K of ``labels`` and the classes of boxes, as "labels" and "box_label".
    """
    facts = {"layout": layout, "splits": splits, "classes": {column: list(names) for column, names in classes.items()}}
    write_json(out / INDEX, facts, ensure_ascii=False)


def write_arrays(
    out: Path,
    split: str,
    columns: dict[str, np.ndarray],
    text: Text | None = None,
    *,
    labels: np.ndarray | None = None,
    boxes: Boxes | None = None,
) -> dict[str, str]:
    """Write a split of layout "arrays"; returns its entry in dataset.json.

    ``columns``: "image" uint8 [N, H, W] or [N, H, W, C] and integer columns int64 [N]; the rest as in ``write_annotations``.
    """
    image = columns["image"]
    assert image.dtype == np.uint8, image.dtype
    np.save(out / f"{split}.image.npy", image, allow_pickle=False)
    rest = {column: array for column, array in columns.items() if column != "image"}
    described = write_annotations(out, split, len(image), rest, text=text, labels=labels, boxes=boxes)
    return {"image": f"{split}.image.npy"} | described


def write_annotations(
    out: Path,
    split: str,
    count: int,
    columns: dict[str, np.ndarray],
    *,
    text: Text | None = None,
    labels: np.ndarray | None = None,
    boxes: Boxes | None = None,
) -> dict[str, str]:
    """Write the annotations of ``count`` pictures of any layout, in their order; return their part of the split's entry.

    ``columns``: name -> class indices int64 [N], any number; ``text``: one caption, or a list of at least one, per picture;
    ``labels``: float32 [N, K], the degree, 0 to 1, to which each of K classes applies; ``boxes``: per picture boxes [b, 4],
    (cx, cy, w, h) relative to the picture as it is displayed (EXIF orientation applied), and their class indices [b].
    Written as ``<split>.boxes.npy`` float32 [B, 4], ``.box_label.npy`` and ``.box_image.npy`` int64 [B]: all boxes in the order
    of the pictures, and the picture of each.
    """
    entry = {}
    assert not set(columns) & set(RESERVED), columns.keys()
    arrays = dict(columns)
    for column, array in columns.items():
        assert array.dtype == np.int64, (column, array.dtype)
        assert array.shape == (count,), (column, array.shape)
    if labels is not None:
        assert labels.dtype == np.float32
        assert len(labels) == count
        arrays["labels"] = labels
    if boxes is not None:
        arrays |= _flat_boxes(boxes, count)
    for name, array in arrays.items():
        entry[name] = f"{split}.{name}.npy"
        np.save(out / entry[name], array, allow_pickle=False)
    if text is not None:
        assert len(text) == count
        entry["text"] = f"{split}.text.json"
        write_atomically(out / entry["text"], (json.dumps(list(text), ensure_ascii=False, indent=0) + "\n").encode())
    return entry


def _flat_boxes(boxes: Boxes, count: int) -> dict[str, np.ndarray]:
    assert len(boxes) == count
    numbers = [len(labels) for _, labels in boxes]
    assert all(np.shape(here) == (number, 4) for (here, _), number in zip(boxes, numbers, strict=True)), "ragged boxes"
    return {
        "boxes": np.concatenate([np.zeros((0, 4)), *(here for here, _ in boxes)]).astype(np.float32),
        "box_label": np.concatenate([np.zeros(0), *(labels for _, labels in boxes)]).astype(np.int64),
        "box_image": np.repeat(np.arange(count, dtype=np.int64), numbers),
    }


def summary(out: Path) -> str:
    """Summarise the dataset in ``out`` on one line: layout, splits, classes per column, captions, size."""
    facts = json.loads((out / INDEX).read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in out.iterdir())
    parts = [facts["layout"], f"splits {' + '.join(facts['splits'])}"]
    parts += [f"{len(names)} {column} classes" for column, names in facts["classes"].items()]
    parts += ["captions"] if any("text" in entry for entry in facts["splits"].values()) else []
    return ", ".join([*parts, f"{size / 1e6:.1f} MB"])
