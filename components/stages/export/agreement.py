"""Compare a quantised graph with the float graph that it was made from: the figures of ``quantised.json``."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from components.core.files import write_json
from components.serving.float_graph import FLOAT, MODEL
from components.stages.export.onnx_graph import open_session
from components.stages.views.view import View

FILE = "quantised.json"
OUTPUTS = ("logits", "features")
BATCH = 64


def write(settings: Any, view: View, folder: Path, threads: int) -> dict[str, Any]:
    """Write ``quantised.json`` and return it: the settings, what the graphs hold, how far they agree."""
    figures = {"settings": settings.model_dump(mode="json"), **contents(folder), "agreement": agreement(folder, view, threads)}
    write_json(folder / FILE, figures)
    return figures


def in_words(figures: dict[str, Any]) -> str:
    """Return a line on the result."""
    found, size = figures["agreement"], figures["bytes"]
    same = f"{found['same_class']:.2%} of {found['images']:,} {found['split']} images in the same class as by the float graph"
    return f"int8 ({figures['settings']['quantise']}): {same}; {size['float'] / 1e6:.2f} MB became {size['int8'] / 1e6:.2f}"


def agreement(folder: Path, view: View, threads: int) -> dict[str, Any]:
    """Compare the quantised graph with the float one on validation images, or else test or training images.

    Returns split, images, ``same_class`` (share of equal largest logits), ``largest_difference`` by output, and the accuracy of
    both on labelled images. ValueError for outputs that are not finite.
    """
    split = next(name for name in ("validation", "test", "train") if name in view.facts.counts)
    sessions = [open_session(folder / name, threads) for name in (FLOAT, MODEL)]
    same: list[np.ndarray] = []
    right: list[np.ndarray] = []
    worst = dict.fromkeys(OUTPUTS, 0.0)
    for batch in view.batches(split, BATCH):
        inputs = {"image": batch["image"].numpy()}
        first, second = (dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True)) for session in sessions)
        for name in OUTPUTS:
            worst[name] = max(worst[name], float(np.abs(first[name] - second[name]).max()))
        classes = [outputs["logits"].argmax(1) for outputs in (first, second)]
        same.append(classes[0] == classes[1])
        if "label" in batch:
            right.append(np.stack([found == batch["label"].numpy() for found in classes]))
    if not np.isfinite(list(worst.values())).all():
        raise ValueError(f"{MODEL}: the quantised graph gives numbers that are not finite: nothing is exported")
    figures: dict[str, Any] = {"split": split, "images": sum(map(len, same)), "same_class": float(np.concatenate(same).mean())}
    figures["largest_difference"] = {name: float(f"{value:.6g}") for name, value in worst.items()}
    if right:
        figures["accuracy"] = dict(zip(("float", "int8"), np.concatenate(right, 1).mean(1).tolist(), strict=True))
    return figures


def contents(folder: Path) -> dict[str, Any]:
    """Return the bytes of both graphs, and how many weights each kind of number has: int8, float32."""
    import onnx

    weights: Counter[str] = Counter()
    for tensor in onnx.load(str(folder / MODEL)).graph.initializer:
        weights[onnx.TensorProto.DataType.Name(tensor.data_type).lower()] += math.prod(tensor.dims)
    sizes = {"float": (folder / FLOAT).stat().st_size, "int8": (folder / MODEL).stat().st_size}
    return {"bytes": sizes, "weights": {kind: weights[kind] for kind in sorted(weights)}}
