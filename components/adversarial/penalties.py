"""Penalties on the discriminator's gradient in its input. Their own gradient reaches the discriminator's weights.

An image's gradient is that of the sum of all numbers that the discriminator gives for it; no layer may mix images (batch norm).
"""

from __future__ import annotations

import torch
from torch import Tensor


def r1_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """1/2 E ||grad D(x)||^2 on real images (Mescheder et al. 2018, arXiv 1801.04406, eq. 9), without its gamma.

    scores [N, ...], of images [N, ...], which require a gradient. Lazily, every k-th step, it counts k times (Karras et al.
    2020, arXiv 1912.04958, section 3.1).
    """
    return 0.5 * image_gradients(scores, images).square().sum(1).mean()


def gradient_penalty(scores: Tensor, between: Tensor) -> Tensor:
    """E (||grad D(x^)|| - 1)^2 (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3), without its lambda.

    scores [N, ...], of ``between`` [N, ...] from ``interpolate``. Where the gradient is exactly 0 the penalty is 1 and passes
    no gradient on, instead of nan.
    """
    return (torch.linalg.vector_norm(image_gradients(scores, between), dim=1) - 1).square().mean()


def interpolate(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """x^ = share x + (1 - share) G, share [N] from U[0, 1] (arXiv 1704.00028, algorithm 1), a leaf that requires a gradient."""
    share = share.view(-1, *[1] * (real.dim() - 1)).to(real)
    return torch.lerp(fake.detach(), real.detach(), share).requires_grad_()


def image_gradients(scores: Tensor, images: Tensor) -> Tensor:
    """d sum(scores[n]) / d images[n], at least float32, [N, numbers of an image], differentiable itself."""
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.flatten(1).to(torch.promote_types(gradient.dtype, torch.float32))
