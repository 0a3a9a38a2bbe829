"""Scores of all detectors of one view, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.stages.detect.features import Answer, answers
from components.stages.detect.network import Network
from components.stages.views.view import View


def to_score(detectors: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The detectors on ``device`` with their state in float32, as a served graph has them: the scores are the same."""
    return {name: detector.float().to(device) for name, detector in detectors.items()}


def score_view(
    network: Network, detectors: dict[str, Any], view: View, splits: Sequence[str], batch_size: int
) -> dict[str, np.ndarray]:
    """Detector -> float64 [n], the splits one after the other in order. The arithmetic is float32, as in the served graph."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in detectors}
    for answer in answers(network, view, splits, batch_size):
        for name, detector in detectors.items():
            parts[name].append(score(network, detector, answer).double().cpu().numpy())
    scores = {name: np.concatenate(found) for name, found in parts.items()}
    for name, values in scores.items():
        _check_finite(name, values, view.facts.name)
    return scores


def score(network: Network, detector: Any, answer: Answer) -> Tensor:
    """[n]; of the images themselves where the detector needs a gradient."""
    if detector.needs_gradient:
        scores: Tensor = detector.score_images(network.logits, answer.batch["image"])
        return scores
    with torch.no_grad():
        scores = detector.score(answer.features, answer.logits)
    return scores


def _check_finite(name: str, scores: np.ndarray, view: str) -> None:
    bad = ~np.isfinite(scores)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"view {view!r}: the score {name} of {int(bad.sum())} images is not finite (the first is {first}, from 0); "
            f"leave {name} out of the run's detect.detectors"
        )
