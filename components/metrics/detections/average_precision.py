"""COCO's average precision and recall of detections (Lin et al. 2014, arXiv 1405.0312; https://cocodataset.org/#detection-eval).

All numbers are those of ``pycocotools`` for boxes: detections are matched to true boxes in the order of their scores, greedily
and a class at a time, at ten thresholds of the overlap; precision is interpolated at 101 recalls. A crowd, and a true box
outside the range of areas, is to be ignored: so is a detection that matches one, or lies outside and matches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from components.metrics.detections.boxes import (
    MOST,
    THRESHOLDS,
    Detections,
    Matched,
    Truth,
    match_picture,
    of_class,
    true_of_class,
)

RECALLS = np.linspace(0.0, 1.0, 101)
SIDES = (32.0, 96.0)  # pixels: small below the first squared, large above the second
HUGE = 1e5  # the side up to which a box counts


@dataclass(frozen=True)
class Figures:
    """Means over classes with true boxes; NaN if there are none. ``per_class``: AP, AP50, AR100 [K] each.

    ``ap_small``, ``ap_medium``, ``ap_large`` and ``ar_...``: of boxes with such an area; ``ar_1``: at most one detection.
    """

    figures: dict[str, float]
    per_class: dict[str, np.ndarray] = field(default_factory=dict)


def average_precision(
    detections: Sequence[Detections], truth: Sequence[Truth], num_classes: int, sides: tuple[float, float] = SIDES
) -> Figures:
    """COCO's twelve figures over N pictures. ``sides``: of squares that divide small, medium and large boxes, in pixels."""
    small, large = (side**2 for side in sides)
    ranges = {"": (0.0, HUGE**2), "_small": (0.0, small), "_medium": (small, large), "_large": (large, HUGE**2)}
    found = {
        name: [curves(detections, truth, label, limits) for label in range(num_classes)] for name, limits in ranges.items()
    }
    precision = {name: np.stack([curve.precision for curve in found[name]]) for name in ranges}  # [K, T, R]
    recall = {name: np.stack([curve.recall for curve in found[name]]) for name in ranges}  # [K, T, most]
    figures = {"ap": _mean(precision[""]), "ap50": _mean(precision[""][:, 0]), "ap75": _mean(precision[""][:, 5])}
    figures |= {f"ap{name}": _mean(precision[name]) for name in ranges if name}
    figures |= {f"ar_{most}": _mean(recall[""][:, :, index]) for index, most in enumerate(MOST)}
    figures |= {f"ar{name}": _mean(recall[name][:, :, -1]) for name in ranges if name}
    per_class = {
        "ap": precision[""].mean((1, 2)),
        "ap50": precision[""][:, 0].mean(1),
        "ar_100": recall[""][:, :, -1].mean(1),
    }
    return Figures(figures, per_class)


@dataclass(frozen=True)
class Curves:
    """One class: ``precision`` [T, R] at the recalls, ``recall`` [T, most]; NaN without true boxes."""

    precision: np.ndarray
    recall: np.ndarray


def curves(
    detections: Sequence[Detections], truth: Sequence[Truth], label: int, limits: tuple[float, float] = (0.0, HUGE**2)
) -> Curves:
    """Precision and recall of one class, of boxes whose area lies within ``limits``, both included."""
    matched = [
        match_picture(of_class(found, label), true_of_class(true, label), limits)
        for found, true in zip(detections, truth, strict=True)
    ]
    positives = sum(picture.positives for picture in matched)
    if positives == 0:
        return Curves(np.full((len(THRESHOLDS), len(RECALLS)), np.nan), np.full((len(THRESHOLDS), len(MOST)), np.nan))
    recall = np.stack([_ranked(matched, most, positives)[0] for most in MOST], 1)
    return Curves(_ranked(matched, MOST[-1], positives)[1], recall)


def _ranked(matched: Sequence[Matched], most: int, positives: int) -> tuple[np.ndarray, np.ndarray]:
    """(recall [T], precision [T, R]) of all pictures' first ``most`` detections together."""
    scores = np.concatenate([picture.scores[:most] for picture in matched])
    order = np.argsort(-scores, kind="mergesort")
    hit, ignored = (
        np.concatenate([getattr(picture, name)[:, :most] for picture in matched], 1)[:, order] for name in ("hit", "ignored")
    )
    true, false = np.cumsum(hit & ~ignored, 1, dtype=np.float64), np.cumsum(~hit & ~ignored, 1, dtype=np.float64)
    recall = true / positives
    precision = true / (true + false + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]  # the best precision at this recall or a larger one
    interpolated = np.zeros((len(hit), len(RECALLS)))
    for row in range(len(hit)):
        places = np.searchsorted(recall[row], RECALLS, side="left")
        reached = places < recall.shape[1]
        interpolated[row, reached] = envelope[row, places[reached]]
    return recall[:, -1] if recall.shape[1] else np.zeros(len(hit)), interpolated


def _mean(values: np.ndarray) -> float:
    """Mean over what is not NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
