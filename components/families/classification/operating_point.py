"""``evaluate.tpr_at_fpr``: one class against the rest, at a threshold that the validation split chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from components.core.config.strict import Strict
from components.core.recipe import Metric
from components.metrics.intervals import wilson_interval
from components.metrics.operating_point import Rates, best_on_grid, log_odds, probability, rates_at, threshold_at

VALIDATION = "main:validation"  # no role of a link: names have no colon
NAME = "tpr_at_fpr"


class TprAtFprSettings(Strict):
    """True positive rate of the class ``positive`` at a false positive rate of ``fpr`` among the other images."""

    positive: str = Field(description="the class to be found; of all others it is told apart")
    fpr: float = Field(default=0.001, gt=0, lt=1, description="bound on the share of other images that are taken for it")


class OperatingPoint:
    """A threshold on the log-odds of the positive class, from the validation images of the main view."""

    def __init__(self, settings: TprAtFprSettings, classes: tuple[str, ...], logits: np.ndarray, truth: np.ndarray):
        """``logits`` [N, K], ``truth`` [N]: of the validation images. ValueError for an unknown class or one class alone."""
        if settings.positive not in classes:
            listed = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
            raise ValueError(f"evaluate.{NAME}.positive: {settings.positive!r} is not a class; the classes are {listed}")
        self.settings, self.positive = settings, classes.index(settings.positive)
        scores, positive = log_odds(logits, self.positive), truth == self.positive
        try:
            self.threshold = threshold_at(scores, positive, settings.fpr)
            self.chosen = rates_at(scores, positive, self.threshold)
        except ValueError as error:
            raise ValueError(f"evaluate.{NAME}: the validation split: {error}") from None

    def applies(self, truth: np.ndarray) -> bool:
        """Whether there are images of the positive class and others."""
        return 0 < int((truth == self.positive).sum()) < len(truth)

    def metrics(self, logits: np.ndarray, truth: np.ndarray) -> dict[str, Metric]:
        """Figures of other images: the rates at the threshold, and PaddleClas' figure, chosen on these images themselves."""
        rates = self.rates(logits, truth)
        _, grid = self.on_grid(logits, truth)
        return {
            NAME: Metric(rates.tpr, "max"),
            f"{NAME}_realised_fpr": Metric(rates.fpr, "min"),
            f"{NAME}_same_split": Metric(grid.tpr, "max"),
        }

    def items(self, logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """float64 [N], whose mean is the true positive rate."""
        positive = truth == self.positive
        found = (log_odds(logits, self.positive) > self.threshold) & positive
        return found * (len(truth) / positive.sum())

    def rates(self, logits: np.ndarray, truth: np.ndarray) -> Rates:
        """The rates at the threshold."""
        return rates_at(log_odds(logits, self.positive), truth == self.positive, self.threshold)

    def on_grid(self, logits: np.ndarray, truth: np.ndarray) -> tuple[float, Rates]:
        """The best threshold of PaddleClas' grid for these images, and its rates."""
        scores = probability(log_odds(logits, self.positive))
        return best_on_grid(scores, truth == self.positive, self.settings.fpr)

    def table(self, logits: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
        """A row per threshold: on the images that chose it, on these, and PaddleClas' on these."""
        grid, best = self.on_grid(logits, truth)
        own = float(probability(np.array(self.threshold)))
        return [
            self._row("validation", "validation", own, self.chosen),
            self._row("validation", "scored", own, self.rates(logits, truth)),
            self._row("scored (PaddleClas)", "scored", grid, best),
        ]

    def _row(self, chosen_on: str, images: str, threshold: float, rates: Rates) -> dict[str, Any]:
        row: dict[str, Any] = {"threshold chosen on": chosen_on, "images": images, "probability above": round(threshold, 9)}
        pairs = {"tpr": (rates.true_positives, rates.positives), "fpr": (rates.false_positives, rates.negatives)}
        for name, (above, number) in pairs.items():
            low, high = wilson_interval(above, number)
            row |= {f"{name} images": number, f"{name} above": above, name: round(above / number, 6)}
            row |= {f"{name} low": round(low, 6), f"{name} high": round(high, 6)}
        return row
