"""Boxes of pictures: detections and true boxes, their overlap, and COCO's greedy matching of one class.

Boxes are corners (x_min, y_min, x_max, y_max) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
MOST = (1, 10, 100)  # detections of a picture and class
TINY = 1e-10


@dataclass(frozen=True)
class Detections:
    """Detections of one picture: ``boxes`` [n, 4], ``scores`` [n], ``labels`` int [n]."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Truth:
    """True boxes of one picture: ``boxes`` [m, 4], ``labels`` int [m], ``crowd`` bool [m]: a group, to be ignored."""

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray | None = None

    @property
    def ignored(self) -> np.ndarray:
        """bool [m]."""
        return np.zeros(len(self.boxes), np.bool_) if self.crowd is None else self.crowd.astype(np.bool_)


def overlap(boxes: np.ndarray, true: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union [n, m] of corners [n, 4] and [m, 4]; over the detection's own area for a ``crowd`` [m]."""
    low = np.maximum(boxes[:, None, :2], true[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], true[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(-1)
    own, theirs = areas(boxes)[:, None], areas(true)[None]
    union = own + theirs - intersection
    union = union if crowd is None else np.where(crowd[None], own, union)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas [n] of corners [n, 4]."""
    sides: np.ndarray = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(sides.prod(-1))


@dataclass(frozen=True)
class Matched:
    """The detections of one picture, best first: ``scores`` [n], ``hit`` and ``ignored`` bool [T, n]; ``positives``: count."""

    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    positives: int


def of_class(found: Detections, label: int) -> Detections:
    """The detections of one class, best first, at most the largest of ``MOST``."""
    rows = np.flatnonzero(found.labels == label)
    rows = rows[np.argsort(-found.scores[rows], kind="mergesort")][: MOST[-1]]
    return Detections(found.boxes[rows].astype(np.float64), found.scores[rows], found.labels[rows])


def true_of_class(true: Truth, label: int) -> Truth:
    """The true boxes of one class."""
    rows = np.flatnonzero(true.labels == label)
    return Truth(true.boxes[rows].astype(np.float64), true.labels[rows], true.ignored[rows])


def match_picture(found: Detections, true: Truth, limits: tuple[float, float]) -> Matched:
    """Match the detections of one picture and class: each takes the free true box with the largest overlap.

    A box that counts goes before one to be ignored; a crowd can be taken again and again.
    """
    outside = _outside(true.boxes, limits)
    ignore = true.ignored | outside
    order = np.argsort(ignore, kind="mergesort")
    ignore, crowd = ignore[order], true.ignored[order]
    overlaps = overlap(found.boxes, true.boxes[order], crowd)
    shape = (len(THRESHOLDS), len(found.boxes))
    hit, ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for row, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(order), np.bool_)
        for column in range(len(found.boxes)):
            best = _best(overlaps[column], threshold, taken & ~crowd, ignore)
            if best >= 0:
                taken[best], hit[row, column], ignored[row, column] = True, True, ignore[best]
    ignored |= ~hit & _outside(found.boxes, limits)[None]
    return Matched(found.scores, hit, ignored, int((~ignore).sum()))


def _best(overlaps: np.ndarray, threshold: float, closed: np.ndarray, ignore: np.ndarray) -> int:
    """The index of the true box to take, or -1; of equal overlaps the last."""
    best = -1
    reach = min(threshold, 1 - TINY)
    for index, value in enumerate(overlaps.tolist()):
        if closed[index]:
            continue
        if best >= 0 and ignore[index] and not ignore[best]:
            break  # what counts comes first
        if value >= reach:
            best, reach = index, value
    return best


def _outside(boxes: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    size = areas(boxes)
    return (size < limits[0]) | (size > limits[1])
