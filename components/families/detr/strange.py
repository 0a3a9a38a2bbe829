"""How strange pictures are to a detector: 1 - its best score, of the pictures measured and of views of other pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.batch import Batch, Split, pixels_of
from components.core.recipe import Metric, Report
from components.metrics.detection import auroc, fpr95_in_positive

if TYPE_CHECKING:
    from components.families.detr.served import Served

STRANGE = "ood"  # begins the role of a view of other pictures


def confidences(best: np.ndarray) -> list[dict[str, Any]]:
    """A row per picture, the least sure first: its row in the split and its best score. The monitor compares with these."""
    order = np.argsort(best, kind="stable").tolist()
    return [{"picture": row, "confidence": round(float(best[row]), 6)} for row in order]


def add_strange(report: Report, served: Served, best: np.ndarray, views: dict[str, Split]) -> None:
    """Add how well the best score tells the main view's pictures from those of views of role ``ood...``, without boxes or with.

    Metrics ``<role>.auroc`` and ``<role>.fpr95`` (share of strange pictures at or above the score that 95 % of the others
    reach), and a table.
    """
    for role, split in views.items():
        answers = (served.detect(pixels_of(batch), masks_of(batch)) for batch in split)
        strange = np.concatenate([answer["score"].max(1) for answer in answers]).astype(np.float64)
        found = {"auroc": auroc(best, strange), "fpr95": fpr95_in_positive(best, strange)}
        report.metrics.update({f"{role}.auroc": Metric(found["auroc"], "max"), f"{role}.fpr95": Metric(found["fpr95"], "min")})
        row = {"view": split.facts.name, "pictures": len(strange), "mean_confidence": round(float(strange.mean()), 6)}
        report.tables.setdefault("strange", []).append(row | {name: round(value, 6) for name, value in found.items()})


def masks_of(batch: Batch) -> np.ndarray | None:
    """bool [N, H, W], True where the picture is; None if no picture is padded."""
    return batch["image_mask"].numpy() if "image_mask" in batch else None
