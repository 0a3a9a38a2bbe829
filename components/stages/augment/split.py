"""Divide images into splits by contents, labels and seed, independently of the order of the files.

Equal images are in one split; with ``by: group`` so are the groups of a column (patients, pages, videos).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence

import numpy as np

from components.core.strict import SettingsError
from components.stages.augment.policy.policies import Splits

NEW_SPLITS = ("test", "validation")  # the splits that can be divided off, in this order
Rows = np.ndarray  # int64 indices into the table of all images
Column = tuple[np.ndarray, tuple[str, ...]]  # class indices int64 [N], class names


def make_splits(
    published: dict[str, Rows],
    settings: Splits,
    *,
    digests: Sequence[bytes],
    columns: dict[str, Column],
    primary: str | None,
    seed: int,
    key: str,
) -> dict[str, Rows]:
    """Return split -> rows, ascending. ``published``: the dataset's own splits; new ones are taken from "all" or "train".

    A dataset with only a test split is returned unchanged.

    ``primary``: the column to stratify by, or None. SettingsError below ``key`` if a published split is requested, if there is
    no split to divide, or if a column or class does not exist.
    """
    requests = {split: part for split in NEW_SPLITS if (part := getattr(settings, split)) is not None}
    for split in requests:
        if split in published:
            raise SettingsError(f"{key}.{split}: the dataset has a published {split} split; leave this key out")
    pools = [name for name in ("all", "train") if name in published]
    if len(pools) == 2 or (requests and not pools):
        raise SettingsError(f"{key}: one split to divide is needed, 'all' or 'train'; the dataset has {', '.join(published)}")
    if not pools:
        return published
    rest = published[pools[0]]
    if settings.by not in ("image", "group", *columns):
        allowed = f"'image', 'group', or a column: {', '.join(sorted(columns))}"
        raise SettingsError(f"{key}.by: {settings.by!r} is not allowed: {allowed}")
    if settings.by == "group" and settings.column not in columns:
        raise SettingsError(f"{key}.column: {settings.column!r} is not a column; the dataset has {', '.join(sorted(columns))}")
    labels = columns[primary][0] if primary is not None else np.zeros(len(digests), dtype=np.int64)
    chosen = {split: rows for split, rows in published.items() if split != pools[0]}
    size = len(rest)
    for split, part in requests.items():
        if settings.by == "image":
            assert isinstance(part, float)
            rows = _stratified(rest, part * size, digests, labels, seed)
        elif settings.by == "group":
            assert isinstance(part, float)
            rows = _whole_groups(rest, part * size, columns[settings.column], labels, seed)
        else:
            rows = _held_out(rest, part, columns[settings.by], seed, f"{key}.{split}")
        chosen[split], rest = rows, np.setdiff1d(rest, rows)
    return {"train": rest, **chosen}


def _stratified(rows: Rows, target: float, digests: Sequence[bytes], labels: np.ndarray, seed: int) -> Rows:
    """Select about ``target`` rows, stratified by class; equal images stay together, in the order of a keyed content hash."""
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(digests[row], []).append(row)
    by_class: dict[int, list[bytes]] = {}
    for digest in sorted(groups, key=lambda digest: hashlib.sha256(f"{seed}:".encode() + digest).digest()):
        by_class.setdefault(int(labels[groups[digest]].min()), []).append(digest)
    sizes = {label: sum(len(groups[digest]) for digest in members) for label, members in by_class.items()}
    taken = [
        row
        for label, quota in largest_remainder(sizes, target).items()
        for row in _take([groups[digest] for digest in by_class[label]], quota)
    ]
    return np.array(sorted(taken), dtype=np.int64)


def largest_remainder(sizes: dict[int, int], target: float) -> dict[int, int]:
    """Apportion round(``target``) in proportion to ``sizes``: rounded down, the rest to the largest remainders."""
    total = sum(sizes.values())
    exact = {label: size * target / total for label, size in sorted(sizes.items())}
    shares = {label: int(share) for label, share in exact.items()}
    for label in sorted(exact, key=lambda label: (shares[label] - exact[label], label))[: round(target) - sum(shares.values())]:
        shares[label] += 1
    return shares


def _take(groups: list[list[int]], quota: int) -> list[int]:
    """Return the rows of the first groups that fit into ``quota``, never of the last, so that the class keeps images."""
    taken: list[int] = []
    for group in groups[:-1]:
        if len(taken) + len(group) <= quota:
            taken += group
    return taken


def _whole_groups(rows: Rows, target: float, column: Column, labels: np.ndarray, seed: int) -> Rows:
    """Select whole groups with about ``target`` rows in total, in the order of a keyed hash of their names.

    A group is selected if it fits into the remaining target and if all its classes also occur in remaining groups. At the end
    one more is selected if that comes closer to ``target``. At least one group remains.
    """
    indices, names = column
    members = {names[group]: rows[indices[rows] == group] for group in np.unique(indices[rows])}
    left = {label: int(count) for label, count in zip(*np.unique(labels[rows], return_counts=True), strict=True)}
    order = sorted(members, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    taken: list[str] = []
    number = 0

    def may_go(name: str) -> bool:
        present, counts = np.unique(labels[members[name]], return_counts=True)
        whole = all(left[label] > count for label, count in zip(present.tolist(), counts.tolist(), strict=True))
        return whole and len(taken) + 1 < len(members)

    def take(name: str) -> None:
        for label in labels[members[name]].tolist():
            left[label] -= 1
        taken.append(name)

    for name in order:
        if number + len(members[name]) <= target and may_go(name):
            take(name)
            number += len(members[name])
    over = [name for name in order if name not in taken and may_go(name)]
    nearest = min(over, key=lambda name: len(members[name]), default=None)
    if nearest is not None and abs(number + len(members[nearest]) - target) < abs(number - target):
        take(nearest)
    return np.sort(np.concatenate([members[name] for name in taken])) if taken else rows[:0]


def _held_out(rows: Rows, part: float | Sequence[str], column: Column, seed: int, key: str) -> Rows:
    """Select all rows of some classes of the column."""
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
    """Return split -> {row: equal row of a split with precedence}: test before validation before train."""
    owners: dict[bytes, int] = {}
    leaks: dict[str, dict[int, int]] = {}
    for split in sorted(splits, key=("test", "validation", "train").index):
        rows = splits[split].tolist()
        leaks[split] = {row: owners[digests[row]] for row in rows if digests[row] in owners}
        owners.update({digests[row]: row for row in rows if digests[row] not in owners})
    return {split: leak for split, leak in leaks.items() if leak}
