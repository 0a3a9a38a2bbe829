"""Draw images from a PixelCNN, whole or completed: by the definition, or with a cache and the same result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .cache import cache_of


def uniform_draws(shape: tuple[int, int, int, int], seed: int) -> Tensor:
    """All random numbers for images of ``shape``: float64 [N, C, H, W] in [0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_level(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Inverse of the cumulative distribution at ``uniform`` [N]; logits [N, levels] -> int64 [N]."""
    cumulated = torch.softmax(logits.double() / temperature, 1).cumsum(1)
    # The last value may fall short of 1 by rounding: the last level takes the rest.
    return (cumulated[:, :-1] <= uniform[:, None]).sum(1)


class Definition:
    """Evaluate the whole network for each colour of each pixel. Same interface as the caches."""

    def __init__(self, network: Any, batch: int, height: int, width: int, condition: tuple[Tensor, ...]):
        self.network, self.condition, self.row = network, condition, -1
        self.image = next(network.parameters()).new_zeros(batch, network.channels, height, width)

    def begin_row(self) -> None:
        self.row += 1

    def logits(self, pixel: Tensor, column: int) -> Tensor:
        self.write(pixel, column)
        logits: Tensor = self.network(self.image, *self.condition)[..., self.row, column]
        return logits

    def write(self, pixel: Tensor, column: int) -> None:
        self.image[:, :, self.row, column] = pixel


@torch.inference_mode()
def sample(
    network: Any,
    draws: Tensor,
    *,
    temperature: float = 1.0,
    label: Tensor | None = None,
    given: Tensor | None = None,
    known: Tensor | None = None,
    cached: bool = True,
) -> Tensor:
    """Draw levels, int64 [N, C, H, W], with the uniform ``draws`` [N, C, H, W] of any H and W; ``network`` in eval mode.

    ``label`` int64 [N] for a conditional network. Pixels in ``known`` (bool, broadcast to [N, 1, H, W]) are copied from
    ``given`` (levels, int64 [N, C, H, W]): completion if the upper rows are known, in-painting otherwise. A pixel depends on
    known pixels before it in row-major order, not on later ones.

    ``cached`` or not, images are equal unless a draw falls on a step of the cumulative distribution, which rounding moves.
    Measured for 256 levels of similar probability, the worst case: 1e-5 per pixel in float32, 4e-14 in float64. Convert the
    network to float64 for images that do not depend on machine and batch.
    """
    check(network, draws, temperature, label)
    check_given(network, draws, given, known)
    batch, colours, height, width = draws.shape
    condition = () if label is None else (label,)
    dtype, top = next(network.parameters()).dtype, network.levels - 1
    state = cache_of(network, batch, width, label) if cached else Definition(network, batch, height, width, condition)
    known = torch.tensor(False, device=draws.device) if known is None else known
    known = known.expand(batch, 1, height, width)[:, 0]
    levels = torch.zeros_like(draws, dtype=torch.int64) if given is None else given.where(known[:, None], 0)
    for row in range(height):
        state.begin_row()
        for column in range(width):
            kept, pixel = known[:, row, column], levels[:, :, row, column]  # pixel is a part of levels: it is filled in place
            for colour in range(1 if kept.all() else colours):
                logits = state.logits(pixel.to(dtype) / top, column)[:, :, colour]
                drawn = draw_level(logits, draws[:, colour, row, column], temperature)
                pixel[:, colour] = torch.where(kept, pixel[:, colour], drawn)
            state.write(pixel.to(dtype) / top, column)
    return levels


def check(network: Any, draws: Tensor, temperature: float, label: Tensor | None) -> None:
    """ValueError for arguments that do not fit the network."""
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature} is not allowed: above 0")
    if draws.dim() != 4 or draws.shape[1] != network.channels:
        raise ValueError(f"draws: [N, {network.channels}, H, W] are expected, found {list(draws.shape)}")
    if network.takes_label != (label is not None):
        raise ValueError("label: missing; the network is of a class" if label is None else "label: the network takes none")


def check_given(network: Any, draws: Tensor, given: Tensor | None, known: Tensor | None) -> None:
    """ValueError for an image that cannot be completed."""
    if (given is None) != (known is None):
        raise ValueError("given and known: one needs the other")
    if given is not None and (given.shape != draws.shape or given.min() < 0 or given.max() >= network.levels):
        raise ValueError(f"given: levels from 0 to {network.levels - 1} of shape {list(draws.shape)} are expected")
