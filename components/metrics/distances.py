"""Distances of all pairs, a block of rows at a time: 50,000 images a side fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 2**22  # distances at once: 32 MiB


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """|a_i - b_j|^2 >= 0 of ``a`` [n, F] and ``b`` [m, F], rows in order: blocks [about BLOCK / m, m].

    By |a|^2 + |b|^2 - 2 a.b about the mean of ``b``, so off by about 1e-15 of the squared norms there, not of the distance.
    """
    centre = b.mean(0)
    a, b = a - centre, b - centre
    b_norms, rows = (b * b).sum(1), max(1, BLOCK // len(b))
    for start in range(0, len(a), rows):
        block = a[start : start + rows]
        found = (block * block).sum(1)[:, None] + b_norms - 2 * block @ b.T
        yield np.maximum(found, 0.0)
