"""Metrics of a served classifier: accuracy, calibration, confusion, of its own view and of linked ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from components.core.batch import Batch, Split, ViewFacts, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Heatmap, Metric, Report
from components.core.settings import RunSettings
from components.families.classification.multi_label import evaluate_labels
from components.families.classification.operating_point import NAME, VALIDATION, OperatingPoint, TprAtFprSettings
from components.families.classification.quantised import Paired, add_float, paired
from components.metrics.classification import MIN_IMAGES, Summary, softmax, summarise
from components.metrics.intervals import wilson_interval

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.families.classification.served import Served

LOWER_IS_BETTER = ("calibration_error", "negative_log_likelihood")


class Settings(Strict):
    """``split``: which images of the views are scored. ``calibration_bins``: of the expected calibration error.

    ``threshold``: probability above which a class of several per image is told to be present.
    """

    split: Literal["train", "validation", "test"] = "test"
    calibration_bins: int = Field(default=15, ge=1, le=100)
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["validation"] = Field(
        default=0.5, description="of a class of several per image (labels); validation: of largest F1 there, each class its own"
    )
    tpr_at_fpr: TprAtFprSettings | None = Field(default=None, description="one class against the rest at few false positives")


def further_splits(settings: Settings) -> dict[str, str]:
    """Return role -> split of the main view that is read besides: where a threshold is chosen."""
    return {VALIDATION: "validation"} if settings.tpr_at_fpr or settings.threshold == "validation" else {}


def evaluate(served: Served, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Metrics of the main view by their names, of a linked view as ``<role>.<name>``, of a quantised export also in float."""
    if served.facts.get("multi_label"):
        if settings.evaluate.tpr_at_fpr:
            raise ValueError("evaluate.tpr_at_fpr: not allowed with several classes per image (labels)")
        return evaluate_labels(served, splits, settings.evaluate)
    point = operating_point(served, splits, settings, tuple(served.facts["classes"]))
    with paired(served) as scored:
        report = figures(scored, splits, settings, point)
        add_float(report, scored, settings.evaluate.calibration_bins)
    return report


def figures(served: Served | Paired, splits: dict[str, Split], settings: RunSettings, point: OperatingPoint | None) -> Report:
    """Metrics, tables and pictures of the served graph."""
    classes = tuple(served.facts["classes"])
    report = Report({}, group_names=classes)
    for role, split in splits.items():
        if role == VALIDATION:
            continue
        logits, labels = score(served, split)
        truth = class_index(split.facts, classes)[labels]
        found = summarise(logits, truth, bins=settings.evaluate.calibration_bins)
        if role == "main":
            report = replace(report, items=found.items, groups=truth, probabilities=softmax(logits).astype(np.float32))
        prefix = "" if role == "main" else f"{role}."
        for name, value in found.figures.items():
            report.metrics[prefix + name] = Metric(value, "min" if name in LOWER_IS_BETTER else "max")
        if point is not None and (role == "main" or point.applies(truth)):
            report.metrics.update({prefix + name: metric for name, metric in point.metrics(logits, truth).items()})
            report.tables[prefix + NAME] = point.table(logits, truth)
            report.items.update({NAME: point.items(logits, truth)} if role == "main" else {})
        report.tables[prefix + "per_class"] = per_class(found, classes)
        report.pictures[prefix + "confusion"] = Heatmap(found.confusion, classes, rows="true class", columns="predicted class")
    return report


def operating_point(
    served: Served, splits: dict[str, Split], settings: RunSettings, classes: tuple[str, ...]
) -> OperatingPoint | None:
    """Return the threshold of ``evaluate.tpr_at_fpr``; None without this setting."""
    if settings.evaluate.tpr_at_fpr is None:
        return None
    logits, labels = score(served, splits[VALIDATION])
    return OperatingPoint(settings.evaluate.tpr_at_fpr, classes, logits, class_index(splits[VALIDATION].facts, classes)[labels])


def per_class(found: Summary, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row per class: images, right ones, accuracy with Wilson's 95 % interval (empty for too few images)."""
    rows = []
    for index, name in enumerate(classes):
        images, right = int(found.support[index]), int(found.confusion[index, index])
        row: dict[str, Any] = {"class": name, "images": images, "right": right, "accuracy": None, "low": None, "high": None}
        if images >= MIN_IMAGES:
            low, high = wilson_interval(right, images)
            row |= {"accuracy": float(found.per_class[index]), "low": round(low, 4), "high": round(high, 4)}
        rows.append(row)
    return rows


def class_index(view: ViewFacts, classes: tuple[str, ...]) -> np.ndarray:
    """int64 [classes of the view] -> the classifier's class of the same name; ValueError if it has none."""
    names = view.classes.get("label", ())
    if unknown := [name for name in names if name not in classes]:
        listed = ", ".join(unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        raise ValueError(f"view {view.name!r} has classes that the classifier was not trained on: {listed}")
    return np.array([classes.index(name) for name in names], dtype=np.int64)


def score(served: Served | Paired, batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """(logits [N, K], labels [N]) of all batches, through the served code."""
    logits, labels = [], []
    for batch in batches:
        logits.append(served.scores(pixels_of(batch))["logits"])
        labels.append(batch["label"].numpy())
    return np.concatenate(logits), np.concatenate(labels)
