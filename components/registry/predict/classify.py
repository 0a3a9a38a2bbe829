"""Classify batches of pictures with an export's served code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.registry.predict.pictures import Picture
from components.serving.answers import answers, top_classes


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture. ``top``: at most 5 (class, probability), best first; without a detector the rest is None."""

    file: str
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    ood_score: float | None = None
    is_ood: bool | None = None


def classify(served: Any, batches: Iterable[tuple[list[Picture], np.ndarray]]) -> Iterator[tuple[list[Prediction], np.ndarray]]:
    """Yield the predictions of each batch with its pixels, uint8 [n, H, W, C]."""
    for pictures, pixels in batches:
        yield predictions(served, [picture.name for picture in pictures], pixels), pixels


def predictions(served: Any, files: list[str], pixels: np.ndarray) -> list[Prediction]:
    """Classify ``pixels`` uint8 [n, H, W, C], by the code that the scoring server answers with."""
    rows = answers(served, pixels)
    if rows and "top" not in rows[0]:  # an export of an earlier version of the code
        for row, best in zip(rows, top_classes(served.scores(pixels)["logits"], served.facts["classes"]), strict=True):
            row["top"] = best
    return [_prediction(file, row) for file, row in zip(files, rows, strict=True)]


def _prediction(file: str, row: dict[str, Any]) -> Prediction:
    top = tuple((entry["class_name"], entry["probability"]) for entry in row["top"])
    return Prediction(file, row["class_name"], row["probability"], top, row.get("ood_score"), row.get("is_ood"))
