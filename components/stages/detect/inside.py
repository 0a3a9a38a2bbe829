"""Scores of the run's own view: one split for the thresholds, one for the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.metrics.detection import threshold_at_tpr
from components.stages.detect.network import Network
from components.stages.detect.scoring import require_split, score_view, validation_split
from components.stages.detect.settings import DetectSettings
from components.stages.views.view import View


@dataclass(frozen=True)
class Inside:
    """Scores (detector -> float64 [n]) of two splits, and thresholds computed on the first."""

    validation: dict[str, np.ndarray]
    inside: dict[str, np.ndarray]
    validation_split: str
    inside_split: str
    thresholds: dict[str, float]


def score_inside(network: Network, name: str, detection: DetectSettings, view: View, detectors: dict[str, Any]) -> Inside:
    """Score both splits; a threshold accepts a share ``tpr`` of the validation images. ``name``: of the block, for errors."""
    size, validation = detection.batch_size, validation_split(view.facts)
    inside = require_split(view.facts, detection.split, f"detect.{name}.split")
    scores = {split: score_view(network, detectors, view, (split,), size) for split in dict.fromkeys((validation, inside))}
    thresholds = {name: threshold_at_tpr(values, detection.tpr) for name, values in scores[validation].items()}
    return Inside(scores[validation], scores[inside], validation, inside, thresholds)
