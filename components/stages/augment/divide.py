"""Divide the table of all images into splits without leakage and without missing classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.stages.augment.policy.policies import Splits, ViewSettings
from components.stages.augment.split import Rows, find_leaks, make_splits
from components.stages.augment.table import NAMED, Classes, Table


@dataclass(frozen=True)
class Divided:
    """A dataset's images and splits; ``leaked``: split -> number of rows dropped because another split has them.

    ``conflicts``: number of rows dropped because the same image has another class too.
    """

    table: Table
    classes: Classes
    splits: dict[str, Rows]
    leaked: dict[str, int]
    conflicts: int = 0

    @property
    def primary(self) -> str | None:
        """Column whose classes are stratified and complete."""
        return primary(self.classes)


def primary(classes: Classes) -> str | None:
    """Return ``label``, or else ``domain``; None if the dataset has neither."""
    return next((column for column in ("label", "domain") if column in classes), None)


def divide(
    table: Table, classes: Classes, settings: ViewSettings, seed: int, key: str, *, identity: Sequence[bytes] | None = None
) -> Divided:
    """Divide the missing splits, then check for leakage and for classes without training images. ``key``: the view's.

    ``identity``: images with the same count as equal; by default those with the same pixels.
    """
    identity = table.digests if identity is None else identity
    conflicts = find_conflicts(table, primary(classes), identity) if settings.conflicts != "report" else {}
    if conflicts and settings.conflicts == "error":
        raise ValueError(f"{key}: {_describe_conflicts(conflicts, table, classes)}")
    dropped = np.array(sorted({*conflicts, *conflicts.values()}), dtype=np.int64)
    published = {split: np.setdiff1d(rows, dropped).astype(np.int64) for split, rows in table.published.items()}
    splits = make_splits(
        published,
        settings.split,
        digests=identity,
        columns={column: (indices, classes[column]) for column, indices in table.columns.items()},
        primary=primary(classes),
        seed=seed,
        key=f"{key}.split",
    )
    leaks = find_leaks(splits, identity)
    if leaks and settings.leakage == "error":
        raise ValueError(f"{key}: {'; '.join(_describe(split, leak, table) for split, leak in leaks.items())}")
    splits = {split: np.setdiff1d(rows, list(leaks.get(split, ()))).astype(np.int64) for split, rows in splits.items()}
    _check_not_empty(splits, key)
    _check_groups(splits, table.columns, classes, settings.split, key)
    for column in sorted({primary(classes) or "domain", "domain"} & set(classes)):
        what = "domains" if column == "domain" else "classes"
        _check_complete(splits, table.columns[column], classes[column], what, key)
    return Divided(table, classes, splits, {split: len(leak) for split, leak in leaks.items()}, len(dropped))


def find_conflicts(table: Table, column: str | None, identity: Sequence[bytes]) -> dict[int, int]:
    """Return {row: the first row of the same image with another class}, for every image that has several classes."""
    if column is None:
        return {}
    labels, rows = table.columns[column], np.concatenate(list(table.published.values())).tolist()
    members: dict[bytes, list[int]] = {}
    for row in sorted(rows):
        members.setdefault(identity[row], []).append(row)
    mixed = [same for same in members.values() if len(same) > 1 and len(set(labels[same].tolist())) > 1]
    return {row: next(other for other in same if labels[other] != labels[row]) for same in mixed for row in same}


def _describe_conflicts(conflicts: dict[int, int], table: Table, classes: Classes) -> str:
    column = primary(classes)
    assert column is not None
    label = [classes[column][index] for index in table.columns[column]]
    pairs = [(row, other) for row, other in conflicts.items() if row < other][:NAMED]
    named = [f"{table.names[a]} ({label[a]}) = {table.names[b]} ({label[b]})" for a, b in pairs]
    return f"{len(conflicts)} images are the same in two classes (conflicts: drop leaves them out): {', '.join(named)}"


def _check_groups(
    splits: dict[str, Rows], columns: dict[str, np.ndarray], classes: Classes, settings: Splits, key: str
) -> None:
    """Check that no group (patient, page, video) is in two splits, published ones included. The default column is ``group``."""
    column = settings.groups or "group"
    if column not in columns:
        return
    seen: dict[int, str] = {}
    for split, rows in splits.items():
        for group in np.unique(columns[column][rows]).tolist():
            if seen.setdefault(group, split) != split:
                name = classes[column][group]
                hint = f"split: {{by: group, column: {column}}}, or by: image with this column, keeps groups whole"
                raise ValueError(f"{key}.split: the {column} {name!r} is in {seen[group]} and in {split}; {hint}")


def _describe(split: str, leaks: dict[int, int], table: Table) -> str:
    pairs = [f"{table.names[row]} = {table.names[other]}" for row, other in list(leaks.items())[:NAMED]]
    return f"{len(leaks)} {split} images are in another split too (leakage: drop leaves them out): {', '.join(pairs)}"


def _check_not_empty(splits: dict[str, Rows], key: str) -> None:
    for split, rows in splits.items():
        if len(rows) == 0:
            raise ValueError(
                f"{key}: the {split} split has no images; its fraction may be too small, or its classes too few images"
            )


def _check_complete(splits: dict[str, Rows], labels: np.ndarray, names: tuple[str, ...], what: str, key: str) -> None:
    missing = np.setdiff1d(np.arange(len(names)), labels[splits["train"]]) if "train" in splits else ()
    if len(missing):
        raise ValueError(f"{key}: {len(missing)} {what} have no training image: {', '.join(names[m] for m in missing[:NAMED])}")
