"""Zero-shot classification (Radford et al. 2021, section 3.1): classes of a column, told apart by their words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.batch import ViewFacts
from components.core.recipe import Heatmap, Metric, Report
from components.metrics.classification import softmax, summarise
from components.metrics.intervals import wilson_interval

LOWER_IS_BETTER = ("calibration_error", "negative_log_likelihood")


@dataclass(frozen=True)
class Choice:
    """The images and classes of one column: ``rows`` int64 [n] of the split, ``labels`` int64 [n], indices of ``classes``.

    ``words``: what stands for each class in the templates.
    """

    classes: tuple[str, ...]
    words: tuple[str, ...]
    templates: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    images: int

    @classmethod
    def of(cls, view: ViewFacts, columns: dict[str, np.ndarray], entry: Any, key: str) -> Choice:
        """Select by a block of ``zero_shot``. ValueError names the key for a column or classes that the view does not have."""
        if entry.column not in columns:
            listed = ", ".join(columns) or "none"
            raise ValueError(f"{key}.column: view {view.name!r} has no column {entry.column!r}; it has {listed}")
        known = view.classes[entry.column]
        for name, given in {"names": entry.names, "exclude": entry.exclude}.items():
            if unknown := sorted(set(given) - set(known)):
                raise ValueError(f"{key}.{name}: {unknown[0]!r} is no class of the column {entry.column!r}: {', '.join(known)}")
        kept = [name for name in known if name not in entry.exclude]
        if len(kept) < 2:
            raise ValueError(f"{key}.column: {entry.column!r} has {len(kept)} class(es) to tell apart; at least 2 are needed")
        index = np.array([kept.index(name) if name in kept else -1 for name in known])[columns[entry.column]]
        rows = np.flatnonzero(index >= 0)
        if not len(rows):
            raise ValueError(f"{key}.exclude: no image of view {view.name!r} is left")
        words = tuple(entry.names.get(name, name) for name in kept)
        return cls(tuple(kept), words, entry.templates, rows, index[rows], len(index))


@dataclass(frozen=True)
class Classified:
    """The result for a ``Choice``. ``right``: float64 [images], 1.0 or 0.0, NaN for images that are not scored."""

    classes: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    probabilities: np.ndarray
    figures: dict[str, float]
    table: list[dict[str, Any]]
    confusion: np.ndarray

    def add_to(self, report: Report, prefix: str) -> None:
        """Add metrics, the table per class and the confusion, by names that begin with ``prefix``."""
        for name, value in self.figures.items():
            report.metrics[f"{prefix}.{name}"] = Metric(value, "min" if name in LOWER_IS_BETTER else "max")
        report.items[f"{prefix}.accuracy"] = self.right[self.rows]
        report.tables[f"{prefix}.per_class"] = self.table
        report.pictures[f"{prefix}.confusion"] = Heatmap(
            self.confusion, self.classes, rows="true class", columns="predicted class"
        )


def classify(served: Any, vectors: np.ndarray, choice: Choice, bins: int) -> Classified:
    """Classify unit rows [N, D] by the classes' words."""
    concepts = served.class_vectors(choice.words, choice.templates)
    logits = served.scale * vectors[choice.rows] @ concepts.T
    found = summarise(logits, choice.labels, bins=bins)
    right = np.full(choice.images, np.nan)
    right[choice.rows] = found.items["accuracy"]
    table = []
    for index, (name, words) in enumerate(zip(choice.classes, choice.words, strict=True)):
        images, correct = int(found.support[index]), int(found.confusion[index, index])
        low, high = wilson_interval(correct, images) if images else (0.0, 1.0)
        share = correct / images if images else None
        row = {"class": name, "words": words, "images": images, "right": correct, "accuracy": share}
        table.append(row | {"low": round(low, 4), "high": round(high, 4)})
    probabilities = softmax(logits).astype(np.float32)
    return Classified(choice.classes, choice.rows, choice.labels, right, probabilities, found.figures, table, found.confusion)
