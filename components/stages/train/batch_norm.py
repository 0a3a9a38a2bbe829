"""Batch-norm statistics of averaged weights, re-estimated on training images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from components.core.recipe import Recipe, Validated
from components.core.runtime import Precision
from components.stages.train.settings import LoopSettings
from components.stages.train.validation import MAX_BATCH, eval_mode, labelled_stream, restored_randomness
from components.stages.views.draws import generator
from components.stages.views.loader import to_device
from components.stages.views.view import View

BATCHES = 50


def batch_norms(recipe: Recipe) -> list[_BatchNorm]:
    """Return the recipe's batch-norm layers that keep running statistics."""
    layers = [layer for _, layer in recipe.named_modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in layers if layer.track_running_stats]


def reestimate(
    recipe: Recipe, views: Mapping[str, View], settings: LoopSettings, *, device: torch.device, precision: Precision
) -> None:
    """Replace the running statistics, in place, by the means over ``BATCHES`` batches of training images without augmentation.

    The copied ones are exponential averages over the weights of the last updates, which are not the averaged weights (Izmailov
    et al. 2018, arXiv 1803.05407, section 3.2), and over augmented images, which are not those of an evaluation (Touvron et al.
    2019, arXiv 1906.06423). Every process computes the same, on whole batches.
    """
    role, stream = labelled_stream(recipe)
    view, size = views[stream.view], min(stream.batch_size, MAX_BATCH)
    rows, columns = chosen_rows(view, settings.seed, size), dict.fromkeys([*view.split("train").keys[1:], *stream.columns])
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with eval_mode(recipe), cumulative(batch_norms(recipe)), restored_randomness(device), torch.no_grad(), autocast:
        for batch in view.batches("train", size, [*columns], pixels=True, rows=rows):
            cast("Validated", recipe).validate({role: to_device(batch, device)})


def chosen_rows(view: View, seed: int, size: int) -> np.ndarray:
    """Draw the rows of the batches, int64: whole batches of different images, or all images if there are fewer."""
    images = view.facts.counts["train"]
    order = generator(seed, "batch norm").permutation(images)
    return order[: min(BATCHES, images // size) * size] if images >= size else order


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
