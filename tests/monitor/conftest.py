"""A champion without a registry: the score of an image is its mean grey value. And images by the dozen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tracking.conftest import environment, fresh_store, home, template, work

from components.registry.monitor.champion import Champion
from components.stages.augment.policy.policies import ViewSettings

__all__ = ["environment", "fresh_store", "home", "template", "work"]
SIZE, MIDDLE, SPREAD = 8, 128.0, 16.0  # scores are N(MIDDLE, SPREAD)


class Served:
    """As an export's served code. It keeps the number of images of each call."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.calls: list[int] = []

    def predict(self, inputs: dict[str, np.ndarray], params: None = None) -> dict[str, np.ndarray]:
        image = inputs["image"]
        self.calls.append(len(image))
        score = image.mean((1, 2, 3)).astype(np.float32)
        label = np.zeros(len(image), np.int64)
        text = np.full(len(image), "grey")
        probability = np.full(len(image), 0.75, np.float32)
        return {
            "label": label,
            "probability": probability,
            "class_name": text,
            "ood_score": score,
            "is_ood": score < self.threshold,
        }


@pytest.fixture
def champion(work: Path) -> Callable[..., Champion]:
    """Make the champion, version 1 if nothing else is said. 500 reference scores, 5 % of them rejected."""

    def make(version: int = 1, **view: Any) -> Champion:
        reference = np.random.default_rng(9).normal(MIDDLE, SPREAD, 500).astype(np.float32)
        threshold = float(np.sort(reference)[25])
        settings = ViewSettings(**{"dataset": "x", "image_size": SIZE, "channels": 1} | view)
        served, prepared = Served(threshold), settings.preparation
        return Champion("small", version, f"key{version}", "fake", threshold, reference, prepared, "hand", served)

    return make


def put(folder: Path, count: int, middle: float = MIDDLE, seed: int = 0) -> None:
    """``count`` different images below the folder, their mean grey values N(middle, SPREAD)."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for index, level in enumerate(generator.normal(middle, SPREAD, count)):
        pixels = np.clip(generator.integers(-20, 21, (SIZE, SIZE)) + level, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{index}.png")
