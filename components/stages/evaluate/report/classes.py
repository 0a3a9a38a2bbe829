"""Sections about a classifier's single pictures and classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from components.core.recipe import Heatmap, Report
from components.metrics.classification import MIN_IMAGES, confusion
from components.metrics.intervals import wilson_interval
from components.metrics.label_errors import suspected
from components.stages.evaluate.report.confusion import confusion_blocks
from components.stages.evaluate.report.page import Gallery, Section, Table
from components.stages.evaluate.report.pictures import Pictures

GALLERY = 24  # pictures
TRUSTED = 0.8  # accuracy below which the model's doubts about labels say nothing
CLASSES = 40  # rows of the table per class


def class_sections(report: Report, pictures: Pictures) -> list[Section]:
    """Return the sections of a report with ``probabilities`` and ``groups``: classes, confusion, galleries."""
    assert report.probabilities is not None
    assert report.groups is not None
    predicted = report.probabilities.argmax(1)
    matrix = confusion(predicted, report.groups, len(report.group_names))
    heatmap = Heatmap(matrix, report.group_names, rows="true class", columns="predicted class")
    rows = class_rows(matrix, report.group_names)
    order = f"the classes with the lowest accuracy first; no accuracy is given for fewer than {MIN_IMAGES} images"
    return [
        Section("Wrong pictures", wrong(report, predicted, pictures)),
        Section("Least sure", least_sure(report, predicted, pictures)),
        Section("Confusion", confusion_blocks(heatmap, pictures.split)),
        Section("Classes", [Table(rows[:CLASSES], order, max(0, len(rows) - CLASSES))]),
        Section("Suspected label errors", label_errors(report, pictures)),
    ]


def wrong(report: Report, predicted: np.ndarray, pictures: Pictures) -> list[Gallery]:
    """Return the wrong pictures, the surest errors first."""
    assert report.probabilities is not None
    rows = np.flatnonzero(predicted != report.groups)
    rows = rows[np.argsort(-report.probabilities[rows].max(1), kind="stable")]
    words = f"wrong: {len(rows):,} of {len(predicted):,} pictures of the {pictures.split} split; the surest errors first"
    return _gallery(report, pictures, rows, words)


def least_sure(report: Report, predicted: np.ndarray, pictures: Pictures) -> list[Gallery]:
    """Return right pictures, those first whose two likeliest classes are closest."""
    assert report.probabilities is not None
    rows = np.flatnonzero(predicted == report.groups)
    first, second = np.sort(report.probabilities[rows], axis=1)[:, -2:].T[::-1]
    rows = rows[np.argsort(first - second, kind="stable")]
    return _gallery(report, pictures, rows, "right, but hardly: the smallest lead of the likeliest class first")


def label_errors(report: Report, pictures: Pictures) -> list[Gallery]:
    """Return the pictures that confident learning suspects, from the model's own probabilities of pictures it has not seen."""
    assert report.probabilities is not None
    assert report.groups is not None
    accuracy = float((report.probabilities.argmax(1) == report.groups).mean())
    if pictures.split == "train" or accuracy < TRUSTED:
        return []  # it has learnt these labels, or cannot tell the classes
    rows, likelier = suspected(report.probabilities, report.groups)
    words = f"{pictures.split} labels that the model doubts (confident learning): {len(rows):,}; look before you change one"
    return _gallery(report, pictures, rows, words, [f"perhaps {report.group_names[index]}" for index in likelier[:GALLERY]])


def _gallery(
    report: Report, pictures: Pictures, rows: np.ndarray, words: str, lines: Iterable[str] | None = None
) -> list[Gallery]:
    shown = rows[:GALLERY].tolist()
    notes = [[line] for line in lines] if lines is not None else [[] for _ in shown]
    cards = [pictures.card(report, row, *note) for row, note in zip(shown, notes, strict=True)]
    return [Gallery(cards, words)] if cards else []


def class_rows(matrix: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row per class of a confusion matrix [K, K], the lowest accuracy first, classes with few images last."""
    rows = []
    for index, name in enumerate(names):
        images, right = int(matrix[index].sum()), int(matrix[index, index])
        known = images >= MIN_IMAGES
        low, high = wilson_interval(right, images) if known else (0.0, 0.0)
        others = matrix[index].copy()
        others[index] = 0
        row = {"class": name, "images": images, "right": right, "accuracy": right / images if known else None}
        row |= {"95 % interval": f"{low:.3f} to {high:.3f}" if known else "–"}
        rows.append(row | {"most often taken for": f"{names[others.argmax()]} ({others.max()})" if others.any() else "–"})
    return sorted(rows, key=lambda row: (row["accuracy"] is None, row["accuracy"] or 0.0))
