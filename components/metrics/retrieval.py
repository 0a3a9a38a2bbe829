"""Retrieval between two sets of vectors: recall at k, ranks, and what chance would give."""

from __future__ import annotations

import numpy as np

ROWS = 1024  # queries whose scores are held at a time


def first_ranks(queries: np.ndarray, items: np.ndarray, relevant: list[np.ndarray]) -> np.ndarray:
    """Return the rank of each query's best relevant item, int64 [Q], 0 for the first place.

    ``queries`` [Q, D], ``items`` [M, D]; ``relevant``: per query the indices of its items, at least one. The rank is the number
    of other items that score at least as high: ties are errors.
    """
    ranks = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), ROWS):
        scores = queries[start : start + ROWS] @ items.T
        for row, own in enumerate(relevant[start : start + ROWS]):
            best = scores[row, own].max()
            ranks[start + row] = (scores[row] >= best).sum() - (scores[row, own] >= best).sum()
    return ranks


def chance_of_recall(relevant: list[np.ndarray], items: int, k: int) -> float:
    """Return the expected recall at k of an order by chance, over queries with any number of relevant items."""
    counts = np.array([len(own) for own in relevant])
    missed = np.ones(len(counts))
    for place in range(min(k, items)):
        missed *= np.clip(items - counts - place, 0, None) / (items - place)
    return float(1 - missed.mean())


def inverse(relevant: list[np.ndarray], items: int) -> list[np.ndarray]:
    """Return per item the indices of the queries that it is relevant for."""
    query = np.repeat(np.arange(len(relevant)), [len(own) for own in relevant])
    item = np.concatenate(relevant)
    order = np.argsort(item, kind="stable")
    return np.split(query[order], np.searchsorted(item[order], np.arange(1, items)))
