"""Standard normal noise, from one generator, or from one for each image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

Noise = torch.Generator | Sequence[torch.Generator]  # of a whole batch, or one for each of its images


def normal_like(x: Tensor, generator: Noise) -> Tensor:
    """Standard normal numbers like x [N, ...], drawn on the generator's device: CPU generators give every machine the same."""
    if isinstance(generator, torch.Generator):
        return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    rows = [torch.randn(x.shape[1:], generator=g, device=g.device, dtype=x.dtype) for g in generator]
    return torch.stack(rows).to(x.device)


def image_generators(seed: int, first: int, count: int) -> list[torch.Generator]:
    """One CPU generator for each of the images first..first + count - 1 of ``seed``: an image is the same in every batch."""
    base = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big")
    return [torch.Generator().manual_seed((base + first + i) % 2**32) for i in range(count)]
