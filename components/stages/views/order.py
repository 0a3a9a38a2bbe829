"""Samplers as pure functions of (seed, role, step), without state.

The places 0, 1, 2 ... index the endless concatenation of permutations, one per epoch; a step's global batch is the next
``batch_size`` places. Nothing is dropped, and a batch may be larger than the data set.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from components.stages.views.draws import generator


class Shuffle:
    """Sampler of every image once per epoch, in a new order each time."""

    def __init__(self, count: int, *key: int | str):
        self._count, self._key = count, key
        self._permutation = lru_cache(maxsize=2)(self._make)  # a batch may straddle two epochs

    def _make(self, epoch: int) -> np.ndarray:
        return generator(*self._key, "epoch", epoch).permutation(self._count)

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """int64 [n], ascending places -> int64 [n] image indices."""
        epochs, offsets = np.divmod(places, self._count)
        return np.concatenate([self._permutation(int(e))[offsets[epochs == e]] for e in np.unique(epochs)])


class Balanced:
    """Sampler of every class once per round, in a new order each round; each class has its own permutations."""

    def __init__(self, classes: np.ndarray, *key: int | str):
        present = np.unique(classes)
        self._members = [np.flatnonzero(classes == c) for c in present]
        self._rounds = Shuffle(len(present), *key, "rounds")
        self._shuffles = [Shuffle(len(rows), *key, "class", int(c)) for c, rows in zip(present, self._members, strict=True)]

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """int64 [n], ascending places -> int64 [n] image indices."""
        chosen, rounds = self._rounds(places), places // len(self._members)
        indices = np.empty_like(places)
        for which in np.unique(chosen):
            here = chosen == which
            indices[here] = self._members[which][self._shuffles[which](rounds[here])]
        return indices
