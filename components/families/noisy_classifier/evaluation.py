"""Evaluation of a noise-aware classifier: accuracy on clean images, as they are served, and over the noise levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from components.core.batch import Split, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.metrics.classification import softmax

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class Settings(Strict):
    """``split``: the images that are scored, at ``levels`` times from data to noise, each with noise drawn from ``seed``."""

    split: Literal["train", "validation", "test"] = "test"
    levels: int = Field(default=10, ge=2, le=1000, description="number of times")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the noise")


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Accuracy on clean images, whose items are for paired comparison, and a table of accuracy over time."""
    asked, split = settings.evaluate, splits["main"]
    batches = [(pixels_of(batch), batch["label"].numpy()) for batch in split]
    label = np.concatenate([label for _, label in batches])
    unnoised = logits(served, batches, 0.0, None)
    clean, rows = right(unnoised, label), []
    for i, t in enumerate(np.linspace(0, 1, asked.levels)):
        correct = right(logits(served, batches, float(t), asked.seed + i), label)
        rows.append({"time": float(t), "log_snr": served.log_snr(float(t)), "accuracy": float(correct.mean())})
    metrics = {
        "accuracy": Metric(float(clean.mean()), "max"),
        "accuracy_over_time": Metric(float(np.mean([row["accuracy"] for row in rows])), "max"),
    }
    names = tuple(split.facts.classes["label"])
    report = Report(metrics, {"noise_levels": rows}, items={"accuracy": clean}, groups=label, group_names=names)
    return replace(report, probabilities=softmax(unnoised).astype(np.float32))


def logits(served: Any, batches: Sequence[tuple[np.ndarray, np.ndarray]], t: float, seed: int | None) -> np.ndarray:
    """[N, K] of all images, at time t with noise drawn from ``seed``, or without noise if ``seed`` is None."""
    scores = [
        served.scores(pixels) if seed is None else served.noisy_scores(pixels, t, (seed, i))
        for i, (pixels, _) in enumerate(batches)
    ]
    return np.concatenate([score["logits"] for score in scores])


def right(scores: np.ndarray, label: np.ndarray) -> np.ndarray:
    """1.0 or 0.0 per image, float64 [N], from logits [N, K] and labels [N]."""
    return (scores.argmax(1) == label).astype(np.float64)
