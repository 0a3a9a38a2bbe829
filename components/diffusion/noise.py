"""Gaussian noise that depends on the generator alone."""

from __future__ import annotations

import torch
from torch import Tensor


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers like x, drawn on the generator's device: a CPU generator gives every machine the same ones."""
    return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
