"""Target attributes of a served StarGAN: checked, flipped, and as label vectors (Choi et al. 2018, arXiv 1711.09020, eq. 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def names_of(facts: Mapping[str, Any], dataset: int) -> list[str]:
    """Return the labels of one data set; ValueError for a number that is none."""
    counts = facts["num_labels"]
    if not 0 <= dataset < len(counts):
        raise ValueError(f"dataset: {dataset} is not allowed: from 0 to {len(counts) - 1}")
    start = sum(counts[:dataset])
    return list(facts["domains"][start : start + counts[dataset]])


def as_labels(labels: Any, number: int, facts: Mapping[str, Any], dataset: int) -> np.ndarray:
    """Check ``labels``; return them as float32 [number, K], 0 to 1. Exclusive domains are one-hot."""
    names, array = names_of(facts, dataset), np.asarray(labels)
    if array.dtype.kind not in "buif" or array.shape != (number, len(names)):
        listed = ", ".join(names)
        raise ValueError(f"labels: {number} rows of {len(names)} numbers are expected ({listed}), found {list(array.shape)}")
    if not np.all((array >= 0) & (array <= 1)):  # NaN fails too
        raise ValueError("labels: numbers from 0 (without the attribute) to 1 (with it) are expected")
    if not facts["several"][dataset] and not (np.all(array.sum(1) == 1) and np.all((array == 0) | (array == 1))):
        raise ValueError(f"labels: exactly one 1 a row is expected, of {', '.join(names)}: they are exclusive")
    return array.astype(np.float32)


def flipped(labels: np.ndarray, name: str, facts: Mapping[str, Any], dataset: int = 0) -> np.ndarray:
    """Flip the attribute ``name`` of ``labels`` [N, K]; one of an exclusive group is set, and the others of it are cleared."""
    names = names_of(facts, dataset)
    if name not in names:
        raise ValueError(f"flip: {name!r} is not known; allowed: {', '.join(names)}")
    target, column = labels.copy(), names.index(name)
    groups = facts["exclusive"] if facts["several"][dataset] else [names]
    group = next((group for group in groups if name in group), None)
    if group is None:
        target[:, column] = 1 - target[:, column]
        return target
    target[:, [names.index(other) for other in group]] = 0
    target[:, column] = 1
    return target


def label_vectors(labels: np.ndarray, facts: Mapping[str, Any], dataset: int) -> np.ndarray:
    """[c_1, ..., c_n, m]: the labels of ``dataset`` are known, others are 0, m is one-hot; float32 [N, label_dim]."""
    counts = facts["num_labels"]
    start, total, masks = sum(counts[:dataset]), sum(counts), len(counts) if len(counts) > 1 else 0
    vectors = np.zeros((len(labels), total + masks), np.float32)
    vectors[:, start : start + counts[dataset]] = labels
    if masks:
        vectors[:, total + dataset] = 1
    return vectors
