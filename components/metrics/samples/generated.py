"""Figures of generated images beside real ones. A figure's name says whose features it stands on: each has its own scale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from components.metrics.classification import in_top_k
from components.metrics.features import as_features, as_pair, mean_distance_within
from components.metrics.samples.distances import frechet_distance, kernel_distance, principal_directions
from components.metrics.samples.precision_recall import density_coverage, precision_recall

SMALLER_IS_BETTER = ("frechet_distance_", "kernel_distance_")


def compare(real: np.ndarray, made: np.ndarray, extractor: str, dimensions: int | None = None) -> dict[str, float]:
    """Two sets of features, [n, F] and [m, F], by every distance: ``frechet_distance_<extractor>``, ``kernel_distance_``, ...

    ``extractor``: the run or network whose features they are. ``dimensions``: features of more than these are first reduced to
    them, and the names end with ``_pca<dimensions>``: n images estimate no covariance of F >= n. The directions are the real
    images' own, noise included, so even other real images are at a distance: that floor falls with n. Needs 6 images a side.
    """
    real, made = as_pair(real, made, least=6)  # density's ball reaches the 5th neighbour
    name = _checked(extractor)
    if dimensions is not None and real.shape[1] > dimensions:
        directions = principal_directions(real, dimensions)
        real, made, name = real @ directions, made @ directions, f"{name}_pca{dimensions}"
    precision, recall = precision_recall(real, made)
    density, coverage = density_coverage(real, made)
    return {
        f"frechet_distance_{name}": frechet_distance(real, made),
        f"kernel_distance_{name}": kernel_distance(real, made),
        f"precision_{name}": precision,
        f"recall_{name}": recall,
        f"density_{name}": density,
        f"coverage_{name}": coverage,
    }


def conditional(logits: np.ndarray, features: np.ndarray, label: np.ndarray, extractor: str) -> dict[str, float]:
    """Do the made images obey their condition, and do they differ within it? An independent classifier's word on them.

    ``logits`` [m, K] and ``features`` [m, F] of the images made for ``label`` int [m]: ``conditional_accuracy_<extractor>`` is
    the share that is recognised as its label, ``diversity_<extractor>`` the mean distance of two images of one label.
    """
    logits, name = as_features(logits, "logits"), _checked(extractor)
    if label.shape != logits.shape[:1] or label.dtype.kind not in "iu" or not 0 <= label.min() <= label.max() < logits.shape[1]:
        raise ValueError(f"label: {len(logits)} whole numbers from 0 to {logits.shape[1] - 1} are expected, one an image")
    return {
        f"conditional_accuracy_{name}": float(in_top_k(logits, label, 1).mean()),
        f"diversity_{name}": mean_distance_within(features, label),
    }


def check_judge(made: Mapping[str, Any], judge: Mapping[str, Any]) -> None:
    """Raise ValueError unless a classifier sees images as a generator makes them; the facts of both exports."""
    own, theirs = ((facts["image_size"], facts["channels"]) for facts in (made, judge))
    if own != theirs:
        raise ValueError(f"link classifier: it sees images of (side, channels) {theirs}, this model makes {own}")


def classes_of_judge(names: Sequence[str], known: Sequence[str], judge: str) -> np.ndarray:
    """Return the index in ``known`` of each of ``names``, int64 [len(names)]; ValueError if the classifier lacks one."""
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"link classifier: {judge} does not know the classes {', '.join(missing[:8])}")
    return np.array([known.index(name) for name in names], dtype=np.int64)


def better(figure: str) -> Literal["max", "min"]:
    """The direction of a figure of ``compare`` or ``conditional`` by its name."""
    return "min" if figure.startswith(SMALLER_IS_BETTER) else "max"


def _checked(extractor: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", extractor):
        raise ValueError(f"extractor: {extractor!r} is not allowed: letters, digits, '_', '.' and '-', for a metric's name")
    return extractor
