"""The path length penalty, and the correction of Adam for lazy penalties (arXiv 1912.04958, sections 3.1 and 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def path_lengths(image: Tensor, styles: Tensor, direction: Tensor) -> Tensor:
    """|J^T y| per image [N]: of ``image`` [N, C, H, W] with respect to ``styles`` [N, L, S], differentiable.

    ``direction`` ~ N(0, I), as the image; y is it over sqrt(H W). The squares are summed over S and averaged over the L layers.
    """
    exact = torch.promote_types(image.dtype, torch.float32)
    y = direction.to(exact) / math.sqrt(image.shape[2] * image.shape[3])
    (gradient,) = torch.autograd.grad((image.to(exact) * y).sum(), styles, create_graph=True)
    return gradient.to(exact).square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """E (|J^T y| - a)^2 (eq. 4), and the new moving mean a, detached. ``lengths`` [N] of the global batch."""
    moved = mean + decay * (lengths.mean() - mean)
    return (lengths - moved).square().mean(), moved.detach()


def lazy(learning_rate: float, betas: tuple[float, float], every: int) -> tuple[float, tuple[float, float]]:
    """Learning rate and betas of an optimizer that makes (k + 1) / k updates a step, k = ``every`` (appendix B)."""
    share = every / (every + 1)
    return learning_rate * share, (betas[0] ** share, betas[1] ** share)
