"""What a detector gets wrong: kinds of errors (after TIDE, Bolya et al. 2020, arXiv 2008.08115), confusion, F1 of a picture.

All at one overlap, 0.5, and for detections whose score reaches a threshold; a crowd is left out, with what lies on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.metrics.detections.boxes import Detections, Truth, overlap

FOREGROUND, BACKGROUND = 0.5, 0.1  # overlaps: TIDE's t_f and t_b
KINDS = ("right", "localisation", "class", "class_and_localisation", "duplicate", "background")


@dataclass(frozen=True)
class Verdicts:
    """One picture's detections that reach the threshold, best first: ``rows`` [n] of them, ``kind`` [n], index of ``KINDS``.

    ``missed``: bool [m], true boxes that no right detection takes; ``counted``: bool [m], false for a crowd.
    """

    rows: np.ndarray
    kind: np.ndarray
    missed: np.ndarray
    counted: np.ndarray

    @property
    def f1(self) -> float:
        """2 right / (detections + true boxes); 1 for nothing of either."""
        total = len(self.rows) + int(self.counted.sum())
        return 2 * int((self.kind == 0).sum()) / total if total else 1.0


def judge(found: Detections, true: Truth, threshold: float) -> Verdicts:
    """Judge the detections of one picture with a score of at least ``threshold``.

    Each takes, in the order of scores, the free true box of its class with the largest overlap of at least 0.5. Of the others:
    localisation: its class, overlap 0.1 to 0.5; class: another class, 0.5 or more; both: another class, 0.1 to 0.5; duplicate:
    the box is taken; background: below 0.1.
    """
    rows = np.flatnonzero(found.scores >= threshold)
    rows = rows[np.argsort(-found.scores[rows], kind="mergesort")]
    crowd = true.ignored
    overlaps = overlap(found.boxes[rows].astype(np.float64), true.boxes.astype(np.float64), crowd)
    same = found.labels[rows][:, None] == true.labels[None]
    free, kind, on_crowd = ~crowd, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    for index in range(len(rows)):
        able = np.where(same[index] & free, overlaps[index], -1.0)
        if able.size and able.max() >= FOREGROUND:
            free[able.argmax()] = False
            continue
        on_crowd[index] = bool((overlaps[index][crowd & same[index]] >= FOREGROUND).any())
        kind[index] = _kind(overlaps[index][~crowd], same[index][~crowd])
    return Verdicts(rows[~on_crowd], kind[~on_crowd], free & ~crowd, ~crowd)


def _kind(overlaps: np.ndarray, same: np.ndarray) -> int:
    """The kind of a detection that takes no true box; ``overlaps`` [m] with all of them."""
    own, other = (float(overlaps[chosen].max(initial=0.0)) for chosen in (same, ~same))
    if own >= FOREGROUND:
        return KINDS.index("duplicate")
    if other >= FOREGROUND:
        return KINDS.index("class")
    if own >= BACKGROUND:
        return KINDS.index("localisation")
    return KINDS.index("class_and_localisation" if other >= BACKGROUND else "background")


def confusion(detections: Sequence[Detections], truth: Sequence[Truth], num_classes: int, threshold: float) -> np.ndarray:
    """Counts [K + 1, K + 1]: row the true class, column the predicted one; the last of each: nothing there, missed.

    Pairs of any class are matched in the order of scores; a detection takes the free true box with the largest overlap, of at
    least 0.5, its own class before another.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for found, true in zip(detections, truth, strict=True):
        rows = np.flatnonzero(found.scores >= threshold)
        rows = rows[np.argsort(-found.scores[rows], kind="mergesort")]
        overlaps, free = overlap(found.boxes[rows].astype(np.float64), true.boxes.astype(np.float64)), ~true.ignored
        crowded = overlap(found.boxes[rows].astype(np.float64), true.boxes.astype(np.float64), true.ignored)[:, true.ignored]
        for index, label in enumerate(found.labels[rows].tolist()):
            able = np.where(free & (overlaps[index] >= FOREGROUND), overlaps[index] + (true.labels == label), -1.0)
            if able.size and able.max() > 0:
                free[able.argmax()] = False
                matrix[true.labels[able.argmax()], label] += 1
            elif not (crowded[index] >= FOREGROUND).any():
                matrix[num_classes, label] += 1
        np.add.at(matrix, (true.labels[free], num_classes), 1)
    return matrix
