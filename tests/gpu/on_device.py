"""A family's tiny run (tests/families/tiny.yaml) on a device: the training loop as the train stage calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from families.tiny import Tiny

from components.core.recipe import Recipe
from components.stages.train import loop
from components.stages.train.checkpoint import Checkpoints

Before = Callable[[Recipe, int], None]


def train_on(
    tiny: Tiny,
    device: torch.device,
    precision: str,
    *,
    before: Before | None = None,
    checkpoints: Path | None = None,
    **train: Any,
) -> tuple[Recipe, list[dict[str, float]]]:
    """Train the run; return the recipe and the points that were logged. ``before`` is called before each step."""
    recipe, points = tiny.build(**train), []
    step_of = recipe.training_step

    def watched(batches: Any, step: int) -> Any:
        if before:
            before(recipe, step)
        return step_of(batches, step)

    recipe.training_step = watched  # type: ignore[method-assign]
    loop.train(
        recipe,
        tiny.views,
        tiny.settings(**train).train,
        device=device,
        precision=precision,  # type: ignore[arg-type]
        checkpoints=Checkpoints(checkpoints) if checkpoints else None,
        log=lambda step, point: points.append(dict(point)),
    )
    return recipe, points


def largest_difference(first: Recipe, second: Recipe) -> float:
    """Return the largest difference of two recipes' weights, as a share of the largest weight of the tensor, or of 1."""
    worst, others = 0.0, second.state_dict()
    for name, tensor in first.state_dict().items():
        if tensor.is_floating_point():
            scale = max(1.0, float(tensor.abs().max())) if tensor.numel() else 1.0
            worst = max(worst, float((tensor - others[name]).abs().max()) / scale) if tensor.numel() else worst
    return worst


def module_difference(tiny: Tiny, recipe: Recipe, device: torch.device) -> float:
    """Return the largest difference of the recipe's exported modules on the device and on the CPU, as a share of the values."""
    worst = 0.0
    for graph in recipe.eval().exportable().graphs.values():
        inputs = graph.inputs(tiny.batch(3))
        with torch.no_grad():
            here = graph.module.to(device)(*(tensor.to(device) for tensor in inputs.values()))
            there = graph.module.to("cpu")(*(tensor.cpu() for tensor in inputs.values()))
        pairs = zip(here, there, strict=True) if isinstance(here, tuple) else [(here, there)]
        for one, other in pairs:
            if one.is_floating_point():
                scale = max(1.0, float(other.abs().max()))
                worst = max(worst, float((one.cpu() - other).abs().max()) / scale)
    return worst
