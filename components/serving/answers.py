"""Predict pictures and describe each answer as JSON: label, probability, class name, the best classes, strangeness, images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

TOP = 5


def answers(
    served: Any, pixels: np.ndarray, inputs: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Predict uint8 [N, H, W, C] and return one JSON object per picture: the model's outputs by name.

    A classifier's have ``top``, its best classes with probabilities, at most 5; an image is a PNG in base64. ``inputs``: what
    the model takes beside pictures, name -> array [N]. ValueError from the model for an invalid request.
    """
    if hasattr(served, "outputs_of") and not inputs and not params:
        scores = served.scores(pixels)
        outputs, logits = served.outputs_of(scores), scores["logits"]
    else:
        outputs, logits = served.predict({"image": pixels, **(inputs or {})}, dict(params) if params else None), None
    rows = [{name: _as_json(array[row]) for name, array in outputs.items()} for row in range(len(pixels))]
    if logits is not None:
        several = getattr(served, "facts", {}).get("multi_label", False)
        for row, best in zip(rows, top_classes(logits, served.classes, several=several), strict=True):
            row["top"] = best
    return rows


def top_classes(logits: np.ndarray, classes: Any, number: int = TOP, *, several: bool = False) -> list[list[dict[str, Any]]]:
    """Return the best classes of each row of logits [N, K]: name and probability, the likeliest first.

    ``several``: each class has a probability of its own, since an image may have several.
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability = 1 / (1 + np.exp(-logits)) if several else shifted / shifted.sum(axis=1, keepdims=True)
    order = np.argsort(-probability, axis=1, kind="stable")[:, :number]
    return [
        [{"class_name": str(classes[index]), "probability": float(row[index])} for index in best]
        for row, best in zip(probability, order, strict=True)
    ]


def _as_json(value: Any) -> Any:
    array = np.asarray(value)
    if array.ndim == 3 and array.dtype == np.uint8:
        file = io.BytesIO()
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()
    return array.tolist()
