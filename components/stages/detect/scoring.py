"""Score a view by all detectors in one pass, and select its splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.core.batch import ViewFacts
from components.stages.detect.features import Prediction, predictions
from components.stages.detect.network import Network
from components.stages.views.view import View


def to_score(detectors: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Move the detectors to ``device`` with their state in float32, as in a served graph, so that the scores agree."""
    return {name: detector.float().to(device) for name, detector in detectors.items()}


def score_view(
    network: Network, detectors: dict[str, Any], view: View, splits: Sequence[str], batch_size: int
) -> dict[str, np.ndarray]:
    """Return detector -> float64 [n], the splits concatenated in order. The arithmetic is float32, as in the served graph."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in detectors}
    for prediction in predictions(network, view, splits, batch_size):
        for name, detector in detectors.items():
            parts[name].append(score(network, detector, prediction).double().cpu().numpy())
    scores = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    for name, values in scores.items():
        _check_finite(name, values, view.facts.name)
    return scores


def score(network: Network, detector: Any, prediction: Prediction) -> Tensor:
    """Compute the scores [n], from the images themselves if the detector needs a gradient."""
    if detector.needs_gradient:
        scores: Tensor = detector.score_images(network.logits, prediction.batch["image"])
        return scores
    with torch.no_grad():
        scores = detector.score(prediction.features, prediction.logits)
    return scores


def _check_finite(name: str, scores: np.ndarray, view: str) -> None:
    bad = ~np.isfinite(scores)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"view {view!r}: the score {name} of {int(bad.sum())} images is not finite (the first is {first}, from 0); "
            f"leave {name} out of the run's detect.detectors"
        )


def has(facts: ViewFacts, split: str) -> bool:
    """Return whether the view has images in the split."""
    return facts.counts.get(split, 0) > 0


def require_split(facts: ViewFacts, split: str, key: str) -> str:
    """Return ``split``; ValueError names the setting ``key`` if the view has no image in it."""
    if not has(facts, split):
        fault = "is empty" if split in facts.counts else "does not exist"
        raise ValueError(f"{key}: the split {split!r} of view {facts.name!r} {fault}; {_choices(facts)}")
    return split


def validation_split(facts: ViewFacts) -> str:
    """Return the split for the thresholds: validation, or else test, or else train."""
    return next(split for split in ("validation", "test", "train") if has(facts, split))


def chosen_splits(facts: ViewFacts, selection: str, key: str) -> tuple[str, ...]:
    """Resolve ``selection``, "all" or one split, to splits; ValueError if they have no images."""
    if selection != "all":
        return (require_split(facts, selection, key),)
    splits = tuple(split for split in facts.counts if has(facts, split))
    if not splits:
        raise ValueError(f"{key}: view {facts.name!r} has no images; look at its dataset and its split block")
    return splits


def _choices(facts: ViewFacts) -> str:
    counted = ", ".join(f"{split} ({count} images)" for split, count in facts.counts.items() if count)
    return f"it has {counted}" if counted else "it has no images at all"
