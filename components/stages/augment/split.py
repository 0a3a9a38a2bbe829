"""Which image goes to which split: functions of contents, labels and seed, never of the order in which files came.

A group is a set of equal images; it stays on one side.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence

import numpy as np

from components.core.strict import SettingsError
from components.stages.augment.policies import Splits

MADE = ("test", "validation")  # the splits that can be made, in the order in which they choose
Rows = np.ndarray  # int64 indices into the table of all images
Column = tuple[np.ndarray, tuple[str, ...]]  # class indices int64 [N], class names


def make_splits(
    published: dict[str, Rows],
    settings: Splits,
    *,
    digests: Sequence[bytes],
    columns: dict[str, Column],
    primary: str,
    seed: int,
    key: str,
) -> dict[str, Rows]:
    """split -> rows, ascending. ``published``: the dataset's own splits; new ones come out of "all" or "train".

    A dataset may have a test split alone, to be compared with another's; then there is nothing to make.

    ``primary``: the column to stratify by. SettingsError below ``key`` if a published split is asked for, if there is nothing
    to take it from, or if a column or class does not exist.
    """
    wanted = {split: part for split in MADE if (part := getattr(settings, split)) is not None}
    for split in wanted:
        if split in published:
            raise SettingsError(f"{key}.{split}: the dataset has a published {split} split; leave this key out")
    pools = [name for name in ("all", "train") if name in published]
    if len(pools) == 2 or (wanted and not pools):
        raise SettingsError(f"{key}: one split to divide is needed, 'all' or 'train'; the dataset has {', '.join(published)}")
    if not pools:
        return published
    rest = published[pools[0]]
    if settings.by not in ("image", *columns):
        raise SettingsError(f"{key}.by: {settings.by!r} is not allowed: 'image', or a column: {', '.join(sorted(columns))}")
    chosen = {split: rows for split, rows in published.items() if split != pools[0]}
    size = len(rest)
    for split, part in wanted.items():
        if settings.by == "image":
            assert isinstance(part, float)
            rows = _stratified(rest, part * size, digests, columns[primary][0], seed)
        else:
            rows = _held_out(rest, part, columns[settings.by], seed, f"{key}.{split}")
        chosen[split], rest = rows, np.setdiff1d(rest, rows)
    return {"train": rest, **chosen}


def _stratified(rows: Rows, wanted: float, digests: Sequence[bytes], labels: np.ndarray, seed: int) -> Rows:
    """About ``wanted`` of the rows, each class in proportion; groups come in the order of a keyed hash of their contents."""
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(digests[row], []).append(row)
    by_class: dict[int, list[bytes]] = {}
    for digest in sorted(groups, key=lambda digest: hashlib.sha256(f"{seed}:".encode() + digest).digest()):
        by_class.setdefault(int(labels[groups[digest]].min()), []).append(digest)
    sizes = {label: sum(len(groups[digest]) for digest in members) for label, members in by_class.items()}
    taken = [
        row
        for label, quota in largest_remainder(sizes, wanted).items()
        for row in _take([groups[digest] for digest in by_class[label]], quota)
    ]
    return np.array(sorted(taken), dtype=np.int64)


def largest_remainder(sizes: dict[int, int], wanted: float) -> dict[int, int]:
    """Whole shares of round(``wanted``) in proportion to ``sizes``: rounded down, the rest to the largest remainders."""
    total = sum(sizes.values())
    exact = {label: size * wanted / total for label, size in sorted(sizes.items())}
    shares = {label: int(share) for label, share in exact.items()}
    for label in sorted(exact, key=lambda label: (shares[label] - exact[label], label))[: round(wanted) - sum(shares.values())]:
        shares[label] += 1
    return shares


def _take(groups: list[list[int]], quota: int) -> list[int]:
    """Rows of the first groups that fit into ``quota``; the last group is never taken, so that no class is left without."""
    taken: list[int] = []
    for group in groups[:-1]:
        if len(taken) + len(group) <= quota:
            taken += group
    return taken


def _held_out(rows: Rows, part: float | Sequence[str], column: Column, seed: int, key: str) -> Rows:
    """All rows of some classes of the column."""
    indices, names = column
    present = [names[index] for index in np.unique(indices[rows])]
    if isinstance(part, float):
        order = sorted(present, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        part = order[: max(1, round(part * len(names)))]
    for name in part:
        if name not in present:
            near = difflib.get_close_matches(name, present, n=3) or present[:20]
            raise SettingsError(f"{key}: {name!r} is no class that is left to hold out; near: {', '.join(near)}")
    return rows[np.isin(indices[rows], [names.index(name) for name in part])]


def find_leaks(splits: dict[str, Rows], digests: Sequence[bytes]) -> dict[str, dict[int, int]]:
    """split -> {row: the equal row of a split that is kept before it}: test before validation before train."""
    kept: dict[bytes, int] = {}
    leaks: dict[str, dict[int, int]] = {}
    for split in sorted(splits, key=("test", "validation", "train").index):
        rows = splits[split].tolist()
        leaks[split] = {row: kept[digests[row]] for row in rows if digests[row] in kept}
        kept.update({digests[row]: row for row in rows if digests[row] not in kept})
    return {split: found for split, found in leaks.items() if found}
