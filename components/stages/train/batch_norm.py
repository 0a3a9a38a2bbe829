"""Batch-norm statistics of averaged weights, re-estimated on training batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any, cast

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from components.core.recipe import Recipe, Validated
from components.core.runtime import Precision
from components.stages.train.settings import LoopSettings
from components.stages.train.validation import eval_mode, restored_randomness
from components.stages.views.loader import to_device, training_batches
from components.stages.views.view import View

BATCHES = 50


def batch_norms(recipe: Recipe) -> list[_BatchNorm]:
    """Return the recipe's batch-norm layers that keep running statistics."""
    layers = [layer for _, layer in recipe.named_modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in layers if layer.track_running_stats]


def reestimate(
    recipe: Recipe, views: Mapping[str, View], settings: LoopSettings, *, device: torch.device, precision: Precision
) -> None:
    """Replace the running statistics by the means over ``BATCHES`` training batches, augmented, in place.

    The copied ones are exponential averages over the weights of the last updates, which are not the averaged weights (Izmailov
    et al. 2018, arXiv 1803.05407, section 3.2; Wu & Johnson 2021, arXiv 2105.07576, section 3). The batches are the global
    ones after the last update, so the result does not depend on the number of processes.
    """
    ((role, stream),) = recipe.streams().items()
    last = settings.steps
    options: dict[str, Any] = {"role": role, "seed": settings.seed, "workers": settings.workers}
    feed = training_batches(views[stream.view], stream, start_step=last, steps=last + BATCHES, **options)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with ExitStack() as stack:
        for context in (closing(cast("Any", feed)), eval_mode(recipe), cumulative(batch_norms(recipe))):
            stack.enter_context(context)
        stack.enter_context(restored_randomness(device))
        for batch in feed:
            with torch.no_grad(), autocast:
                cast("Validated", recipe).validate({role: to_device(batch, device)})


@contextmanager
def cumulative(layers: list[_BatchNorm]) -> Iterator[None]:
    """Reset the layers' running statistics, and make them plain means over the batches that are seen inside the block."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch: a cumulative average
        layer.train()
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
