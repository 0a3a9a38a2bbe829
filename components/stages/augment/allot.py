"""Allot units (equal images, or the groups of a column) to parts of given shares, stratified by class.

Greedy, as scikit-learn's StratifiedGroupKFold: large units first, each to the part that lacks most of its classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

Units = dict[bytes, list[int]]  # a name that does not depend on the order of the files -> the unit's rows


def units_of(rows: np.ndarray, digests: Sequence[bytes], column: tuple[np.ndarray, tuple[str, ...]] | None) -> Units:
    """Return the units of ``rows``: equal images, or the groups of ``column`` (indices int64 [N], names)."""
    units: Units = {}
    for row in rows.tolist():
        name = digests[row] if column is None else column[1][column[0][row]].encode()
        units.setdefault(name, []).append(row)
    return units


def allot(units: Units, labels: np.ndarray, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """Return the rows of each part, ascending. ``labels`` int64 [N]; ``shares`` add up to 1.

    For a unit with n images of class c, a part that has h of them and is due t costs sum_c n (n + 2 (h - t)) / total_c: by this
    the sum over classes of (h - t)^2 / total_c grows. The unit goes where the cost is least, then where images lack most.
    """
    totals = np.bincount(labels[[row for rows in units.values() for row in rows]], minlength=labels.max(initial=0) + 1)
    lacking = np.outer(shares, totals)  # [parts, classes]: what a part is due and has not yet
    parts: list[list[int]] = [[] for _ in shares]
    order = sorted(units, key=lambda name: (-len(units[name]), hashlib.sha256(f"{seed}:".encode() + name).digest()))
    for name in order:
        rows = units[name]
        present, counts = np.unique(labels[rows], return_counts=True)
        cost = (counts * (counts - 2 * lacking[:, present]) / totals[present]).sum(axis=1)
        part = int(np.lexsort((-lacking.sum(axis=1).round(6), cost.round(9)))[0])
        lacking[part, present] -= counts
        parts[part] += rows
    return [np.array(sorted(rows), dtype=np.int64) for rows in parts]
