"""Findings about a view: duplicates, suspected labels, small classes, odd pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.stages.augment.divide import Divided
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.quality.label_errors import Suspects, nobody, suspect_labels
from components.stages.augment.quality.near import Pairs
from components.stages.augment.quality.pictures import odd_pictures
from components.stages.augment.quality.similarity import Similarity
from components.stages.augment.quality.splits import told_apart

ORDER = ("train", "validation", "test")
FEW = 5  # pictures of a class, below which it is named


@dataclass(frozen=True)
class Place:
    """Where a row of the table is in the view, and what it is called."""

    split: str
    row: int
    name: str
    label: str


@dataclass(frozen=True)
class Findings:
    """``places``: row of the table -> its place, for the rows that the view has; ``equal`` and ``near``: pairs of such rows.

    ``classes``: names of the classes; ``odd``: fault -> rows; ``few``: class -> number of pictures; ``untested``: classes
    without a test picture; ``apart``: split -> AUROC by which simple features tell it from the training pictures.
    """

    classes: tuple[str, ...]
    places: dict[int, Place]
    equal: Pairs
    near: Pairs
    suspects: Suspects
    odd: dict[str, np.ndarray]
    few: dict[str, int]
    untested: list[str]
    apart: dict[str, float]

    @property
    def pairs(self) -> list[tuple[int, int, bool]]:
        """Return (row, row, whether their pixels are equal): those of two classes first, then those of two splits."""
        both = [
            (int(first), int(second), pairs is self.equal)
            for pairs in (self.equal, self.near)
            for first, second in zip(pairs.first, pairs.second, strict=True)
        ]
        return sorted(both, key=lambda pair: (not self.conflict(*pair[:2]), not self.leak(*pair[:2]), not pair[2], pair))

    def conflict(self, first: int, second: int) -> bool:
        """Whether two rows have different classes."""
        return self.places[first].label != self.places[second].label

    def leak(self, first: int, second: int) -> bool:
        """Whether two rows are in different splits."""
        return self.places[first].split != self.places[second].split


def findings(data: Divided, similarity: Similarity, settings: ViewSettings) -> Findings:
    """Judge the pictures that the view has."""
    places, table = _places(data), data.table
    rows = np.array(sorted(places), dtype=np.int64)
    column = data.primary
    labels = table.columns[column] if column else np.zeros(len(table.names), dtype=np.int64)
    suspects = nobody("no classes")
    if column == "label":
        suspects = suspect_labels(similarity.thumbnails, labels, table.digests, _different(data, rows))
    odd = odd_pictures(similarity.thumbnails, table.sizes, settings.shown)
    few, untested = _small_classes(data, labels)
    return Findings(
        data.classes[column] if column else (),
        places,
        _equal_pairs(data, rows),
        _within(similarity.pairs, rows),
        suspects,
        {fault: rows[mask[rows]] for fault, mask in odd.items()},
        few,
        untested,
        told_apart(similarity.thumbnails, labels, table.digests, data.splits),
    )


def _places(data: Divided) -> dict[int, Place]:
    table, column = data.table, data.primary
    places = {}
    for split in [split for split in ORDER if split in data.splits]:
        for place, row in enumerate(data.splits[split].tolist()):
            label = data.classes[column][table.columns[column][row]] if column else ""
            places[row] = Place(split, place, table.names[row], label)
    return places


def _different(data: Divided, rows: np.ndarray) -> np.ndarray:
    """Return the first row of every image: copies of a picture would vouch for its label."""
    first = {data.table.digests[row]: row for row in reversed(rows.tolist())}
    return np.array(sorted(first.values()), dtype=np.int64)


def _equal_pairs(data: Divided, rows: np.ndarray) -> Pairs:
    """Pair every image with the first row of the same pixels."""
    owners: dict[bytes, int] = {}
    owned = [(owners.setdefault(data.table.digests[row], row), row) for row in rows.tolist()]
    pairs = np.array([pair for pair in owned if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
    return Pairs(pairs[:, 0], pairs[:, 1])


def _within(pairs: Pairs, rows: np.ndarray) -> Pairs:
    inside = np.isin(pairs.first, rows) & np.isin(pairs.second, rows)
    return Pairs(pairs.first[inside], pairs.second[inside], pairs.complete)


def _small_classes(data: Divided, labels: np.ndarray) -> tuple[dict[str, int], list[str]]:
    if (column := data.primary) is None:
        return {}, []
    names = data.classes[column]
    counts = {split: np.bincount(labels[rows], minlength=len(names)) for split, rows in data.splits.items()}
    total = np.sum(list(counts.values()), axis=0).tolist()
    few = {name: int(count) for name, count in zip(names, total, strict=True) if count < FEW}
    untested = [name for name, count in zip(names, counts["test"], strict=True) if count == 0] if "test" in counts else []
    return few, untested
