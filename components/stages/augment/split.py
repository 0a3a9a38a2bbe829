"""Divide images into splits by contents, labels and seed, independently of the order of the files.

Equal images are in one split; with ``by: group`` so are the groups of a column (patients, pages, videos).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.config.strict import SettingsError
from components.stages.augment.allot import allot, units_of
from components.stages.augment.policy.policies import Splits

NEW_SPLITS = ("test", "validation")  # the splits that can be divided off, in this order
DIVISIBLE = 3  # images of a class from which every new split has one: the others keep two
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
    wanted = {"test": "folds"} if settings.folds else {}
    wanted |= {split: split for split in NEW_SPLITS if getattr(settings, split) is not None}
    for split, setting in wanted.items():
        if split in published:
            raise SettingsError(f"{key}.{setting}: the dataset has a published {split} split; leave this key out")
    pools = [name for name in ("all", "train") if name in published]
    if len(pools) == 2 or (wanted and not pools):
        raise SettingsError(f"{key}: one split to divide is needed, 'all' or 'train'; the dataset has {', '.join(published)}")
    if not pools:
        return published
    _check_columns(settings, columns, key)
    classes = columns[primary] if primary is not None else (np.zeros(len(digests), dtype=np.int64), ("",))
    divided = Dividend(digests, columns, classes, seed, size=len(published[pools[0]]))
    chosen, rest = {split: rows for split, rows in published.items() if split != pools[0]}, published[pools[0]]
    for split, setting in wanted.items():
        chosen[split] = (
            _fold(rest, settings, divided, key) if setting == "folds" else _part(rest, split, settings, divided, key)
        )
        rest = np.setdiff1d(rest, chosen[split])
    return {"train": rest, **chosen}


def _check_columns(settings: Splits, columns: dict[str, Column], key: str) -> None:
    if settings.by not in ("image", "group", *columns):
        allowed = f"'image', 'group', or a column: {', '.join(sorted(columns))}"
        raise SettingsError(f"{key}.by: {settings.by!r} is not allowed: {allowed}")
    if settings.groups is not None and settings.groups not in columns:
        raise SettingsError(f"{key}.column: {settings.groups!r} is not a column; the dataset has {', '.join(sorted(columns))}")


@dataclass(frozen=True)
class Dividend:
    """What is divided. ``classes``: the column to stratify by; ``size``: images before the first split is taken."""

    digests: Sequence[bytes]
    columns: dict[str, Column]
    classes: Column
    seed: int
    size: int


def _fold(rows: Rows, settings: Splits, data: Dividend, key: str) -> Rows:
    """Select the fold that is the test split; the folds together are ``rows``."""
    assert settings.folds is not None
    column = settings.groups or (None if settings.by == "image" else settings.by)
    units = units_of(rows, data.digests, data.columns[column] if column else None)
    if len(units) < settings.folds:
        what = f"classes of {column!r}" if column else "different images"
        raise SettingsError(f"{key}.folds: {settings.folds} is not allowed: there are {len(units)} {what}")
    return allot(units, data.classes[0], [1 / settings.folds] * settings.folds, data.seed)[settings.fold]


def _part(rows: Rows, split: str, settings: Splits, data: Dividend, key: str) -> Rows:
    """Select a fraction of all images, or of the classes of a column, from the remaining ``rows``."""
    part = getattr(settings, split)
    if settings.by not in ("image", "group"):
        return _held_out(rows, part, data.columns[settings.by], data.seed, f"{key}.{split}")
    if settings.by == "group":
        return _whole_groups(rows, part * data.size, data.columns[settings.column], data.classes[0], data.seed)
    if settings.groups:
        share = part * data.size / len(rows)
        return allot(
            units_of(rows, data.digests, data.columns[settings.groups]), data.classes[0], [1 - share, share], data.seed
        )[1]
    return _stratified(rows, part * data.size, data, f"{data.seed}:{split}")


def _stratified(rows: Rows, target: float, data: Dividend, tie: str) -> Rows:
    """Select about ``target`` rows, stratified by class; equal images stay together, in the order of a keyed content hash."""
    (labels, names), digests = data.classes, data.digests
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(digests[row], []).append(row)
    by_class: dict[int, list[bytes]] = {}
    for digest in sorted(groups, key=lambda digest: hashlib.sha256(f"{data.seed}:".encode() + digest).digest()):
        by_class.setdefault(int(labels[groups[digest]].min()), []).append(digest)
    sizes = {label: sum(len(groups[digest]) for digest in members) for label, members in by_class.items()}
    order = {label: hashlib.sha256(f"{tie}:{names[label]}".encode()).digest() for label in sizes}
    taken = [
        row
        for label, quota in apportion(sizes, target, order).items()
        for row in _take([groups[digest] for digest in by_class[label]], quota)
    ]
    return np.array(sorted(taken), dtype=np.int64)


def apportion(sizes: dict[int, int], target: float, order: dict[int, bytes]) -> dict[int, int]:
    """Apportion round(``target``) in proportion to ``sizes``: rounded down, the rest to the largest remainders.

    A class of at least ``DIVISIBLE`` images has one at least, in excess of the target if there are more such classes than
    images to apportion. Ties among classes that have none are broken by ``order``, a hash per class, ties among the others by
    the label.
    """
    total = sum(sizes.values())
    exact = {label: size * target / total for label, size in sorted(sizes.items())}
    shares = {label: max(int(share), int(sizes[label] >= DIVISIBLE)) for label, share in exact.items()}
    left = max(0, round(target) - sum(shares.values()))
    ranks = {label: (shares[label] - exact[label], order[label] if shares[label] == 0 else b"") for label in exact}
    for label in sorted(exact, key=lambda label: (*ranks[label], label))[:left]:
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
