"""Splits that differ, by a classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests").

If cheap features tell the training pictures from those of another split, the split was not drawn by chance: another camera,
border, hand or year. A validation split that is divided off the training pictures cannot show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from components.metrics.detection import auroc
from components.stages.augment.quality.features import features
from components.stages.augment.quality.logistic import out_of_sample
from components.stages.augment.quality.thumbnails import Thumbnails

LEAST, MOST = 40, 1000  # pictures of each split: with fewer nothing is said, of more this many are compared
APART = 0.8  # AUROC from which a split is named


def told_apart(
    thumbnails: Thumbnails, labels: np.ndarray, digests: Sequence[bytes], splits: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return split -> AUROC, 0.5 to 1, of a logistic regression between its pictures and as many of ``train`` of each class.

    ``labels`` int64 [N] of all rows, ``splits``: name -> rows. Out of sample; splits of too few pictures are left out.
    Empty without a split ``train``, as of a view that only tests.
    """
    found = {}
    compared = {split: rows for split, rows in splits.items() if split != "train"} if "train" in splits else {}
    for split, rows in compared.items():
        own, others = _of_equal_classes(labels, digests, splits["train"], rows)
        if len(own) >= LEAST:
            chosen = np.array([*own, *others])
            pictures = Thumbnails(thumbnails.small[chosen], thumbnails.grey[chosen])
            with threadpool_limits(1):  # the same sums with any number of cores, and quicker for small matrices
                scores = out_of_sample(features(pictures), np.repeat([0, 1], len(own)), 2)[:, 1].round(6)
            found[split] = max(0.5, auroc(scores[len(own) :], scores[: len(own)]))
    return found


def _of_equal_classes(
    labels: np.ndarray, digests: Sequence[bytes], train: np.ndarray, rows: np.ndarray
) -> tuple[list[int], list[int]]:
    """Choose as many rows of either split of each class, by their digests: a random choice that no machine changes."""
    chosen: tuple[list[int], list[int]] = ([], [])
    classes = np.intersect1d(labels[train], labels[rows])
    quota = max(1, MOST // max(1, len(classes)))
    for label in classes:
        parts = [sorted(part[labels[part] == label].tolist(), key=lambda row: (digests[row], row)) for part in (train, rows)]
        number = min(quota, *map(len, parts))
        for index, part in enumerate(parts):
            chosen[index].extend(part[:number])
    return chosen
