"""Metrics of a served classifier of several classes per image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.batch import Split, pixels_of
from components.core.recipe import Metric, Report
from components.families.classification.operating_point import VALIDATION
from components.metrics.multi_label import average_precisions, best_thresholds, f1_scores

if TYPE_CHECKING:
    from components.families.classification.evaluation import Settings
    from components.families.classification.served import Served


def evaluate_labels(served: Served, splits: dict[str, Split], settings: Settings) -> Report:
    """Metrics of the main view by their names, of a linked view as ``<role>.<name>``.

    A class is told to be present above its threshold, and is present in truth if its degree is above 0.5.
    """
    if settings.tpr_at_fpr is not None:
        raise ValueError("evaluate.tpr_at_fpr: not allowed with several classes per image (labels)")
    classes = tuple(served.facts["classes"])
    threshold = thresholds(served, splits, settings, classes)
    report = Report({})
    for role, split in splits.items():
        if role == VALIDATION:
            continue
        logits, degrees = score_labels(served, split, classes)
        figures, items, table = summarise_labels(logits, degrees > 0.5, classes, threshold)
        if role == "main":
            report = replace(report, items=items)
        prefix = "" if role == "main" else f"{role}."
        for name, value in figures.items():
            report.metrics[prefix + name] = Metric(value, "min" if name == "negative_log_likelihood" else "max")
        report.tables[prefix + "per_class"] = table
    return report


def thresholds(served: Served, splits: dict[str, Split], settings: Settings, classes: tuple[str, ...]) -> np.ndarray:
    """Return the threshold of each class [K]: the given one, or that of its largest F1 on the validation split."""
    if settings.threshold != "validation":
        return np.full(len(classes), settings.threshold)
    logits, degrees = score_labels(served, splits[VALIDATION], classes)
    return best_thresholds(sigmoid(logits), degrees > 0.5)


def summarise_labels(
    logits: np.ndarray, truth: np.ndarray, classes: tuple[str, ...], threshold: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray], list[dict[str, Any]]]:
    """(figures by name, one value per image of those that are means, a row per class) of logits and bool truth [N, K].

    ``threshold``: of each class [K].
    """
    predicted = sigmoid(logits) > threshold
    precisions = average_precisions(logits, truth)
    micro, macro, f1 = f1_scores(predicted, truth)
    items = {
        "accuracy": (predicted == truth).mean(1),
        "exact_match": (predicted == truth).all(1).astype(np.float64),
        "negative_log_likelihood": np.logaddexp(0, np.where(truth, -logits, logits).astype(np.float64)).sum(1),
    }
    mean = float(np.nanmean(precisions)) if np.isfinite(precisions).any() else float("nan")
    figures = {"mean_average_precision": mean, "f1_micro": micro, "f1_macro": macro}
    figures |= {name: float(values.mean()) for name, values in items.items()}
    rows = [
        {
            "class": name,
            "images": int(truth[:, k].sum()),
            "told": int(predicted[:, k].sum()),
            "threshold": rounded(threshold[k]),
            "average_precision": rounded(precisions[k]),
            "f1": rounded(f1[k]),
        }
        for k, name in enumerate(classes)
    ]
    return figures, items, rows


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of each class by itself."""
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def rounded(value: float) -> float | None:
    """Four digits; None for NaN."""
    return None if np.isnan(value) else round(float(value), 4)


def score_labels(served: Served, split: Split, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(logits [N, K], degrees [N, K]) in the order of ``classes``. ValueError for a view of other classes."""
    names = split.facts.classes.get("labels", ())
    if sorted(names) != sorted(classes):
        raise ValueError(f"view {split.facts.name!r} has the labels {', '.join(names) or 'none'}, not {', '.join(classes)}")
    order = [names.index(name) for name in classes]
    parts = [(served.scores(pixels_of(batch))["logits"], batch["labels"].numpy()[:, order]) for batch in split]
    return np.concatenate([logits for logits, _ in parts]), np.concatenate([degrees for _, degrees in parts])
