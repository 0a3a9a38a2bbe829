"""The border of a served diffusion model: what it takes, what it answers, and an example."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from components.core.batch import Batch, ViewFacts, to_pixels
from components.diffusion.conditions import NO_LABEL
from components.families.diffusion.settings import Conditions

INPUTS = {"label": "label", "text": "tokens", "image": "low_resolution"}  # of what is served -> condition
DEFAULT_STEPS = 20  # where the schedule has as many


def signature(view: ViewFacts, conditions: Conditions, num_steps: int | None) -> dict[str, Any]:
    """An unconditional model is asked by a label too: -1, or where a linked classifier guides what it guides to."""
    size, channels, low = view.image_size, view.channels, conditions.low_resolution
    side = size // low.factor if low else 0
    inputs = {
        "label": {"dtype": "int64", "shape": [-1]},
        "text": {"dtype": "str", "shape": [-1]},
        "image": {"dtype": "uint8", "shape": [-1, side, side, channels]},
    }
    asked = [name for name, key in INPUTS.items() if key in (conditions.names() or ("label",))]
    return {
        "inputs": [{"name": name, **inputs[name]} for name in asked],
        "outputs": [{"name": "image", "dtype": "uint8", "shape": [-1, size, size, channels]}],
        "params": [
            {"name": "sampler", "dtype": "str", "default": "dpm_solver_2m"},
            {"name": "steps", "dtype": "int64", "default": min(DEFAULT_STEPS, num_steps or DEFAULT_STEPS)},
            {"name": "gamma", "dtype": "float64", "default": 1.0},
            {"name": "guidance", "dtype": "str", "default": "free"},
            {"name": "interval_start", "dtype": "float64", "default": 0.0},
            {"name": "interval_end", "dtype": "float64", "default": 1.0},
            {"name": "eta", "dtype": "float64", "default": 0.0},
            {"name": "clip", "dtype": "bool", "default": True},
            {"name": "seed", "dtype": "int64", "default": 0},
            {"name": "first", "dtype": "int64", "default": 0},
            *([{"name": "from_base", "dtype": "bool", "default": False}] if low else []),
        ],
    }


def example(condition: dict[str, Tensor], batch: Batch, view: ViewFacts, conditions: Conditions) -> dict[str, np.ndarray]:
    """Inputs of ``predict`` as the images of a batch, with their ``condition``, would have them."""
    if not condition:
        return {"label": np.full(batch["image"].shape[0], NO_LABEL, np.int64)}
    found = {"label": condition["label"].numpy()} if "label" in condition else {}
    if conditions.text:
        names = view.classes["label"]
        found["text"] = np.array([conditions.text.of(names[k]) for k in batch["label"].tolist()])
    if "low_resolution" in condition:
        found["image"] = to_pixels(condition["low_resolution"])
    return found
