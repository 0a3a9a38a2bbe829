"""Projection of images into W: the style whose image is nearest (arXiv 1912.04958, section 5 and appendix D, in the small)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .networks.generator import Generator

RATE, RAMP_UP, RAMP_DOWN, NOISE = 0.1, 0.05, 0.25, 0.05  # appendix D: learning rate, its ramps, noise on w as a share of sigma
STARTS = 256  # latent codes, the best of which an image starts from


def project(generator: Generator, image: Tensor, mean: Tensor, *, steps: int, seed: int) -> Tensor:
    """image [N, C, H, W] in [-1, 1] -> style [N, S]. Images do not influence each other.

    Adam minimises the squared error of pixels at full, half and quarter size, in place of LPIPS, which needs downloaded
    weights. Noise that falls to 0 is added to w, whose spread is measured; the learning rate rises and falls as in the paper.
    """
    source = torch.Generator().manual_seed(seed)
    style, sigma = start(generator, image, mean, source)
    style.requires_grad_()
    optimizer = torch.optim.Adam([style], betas=(0.9, 0.999))
    quiet = image.new_zeros(len(image), generator.noise_size)
    best, least = style.detach().clone(), torch.full((len(image),), math.inf)
    for step in range(steps + 1):
        t = step / steps
        optimizer.param_groups[0]["lr"] = RATE * learning_rate_scale(t)
        strength = sigma * NOISE * max(0.0, 1 - t / 0.75) ** 2
        noisy = style + strength * torch.randn(style.shape[1], generator=source)
        with torch.enable_grad():
            found = distance(generator.synthesise(generator.repeated(noisy), quiet), image)
        better = found.detach() < least
        best, least = torch.where(better[:, None], noisy.detach(), best), torch.where(better, found.detach(), least)
        if step < steps:
            optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                found.sum().backward()
            optimizer.step()
    return best


@torch.no_grad()
def start(generator: Generator, image: Tensor, mean: Tensor, source: torch.Generator) -> tuple[Tensor, float]:
    """The best of the mean style and of some random ones, halfway to the mean: [N, S]; and the spread of w."""
    mapping = generator.mapping
    label = torch.arange(STARTS) % mapping.num_classes if mapping.num_classes else None
    styles = mapping(torch.randn(STARTS, mapping.latent_dim, generator=source), label)
    sigma = float((styles - mean).square().sum(1).mean().sqrt()) / math.sqrt(styles.shape[1])
    candidates = torch.cat([mean[None], mean + 0.7 * (styles - mean)])
    quiet = image.new_zeros(len(candidates), generator.noise_size)
    drawn = generator.synthesise(generator.repeated(candidates), quiet)
    nearest = torch.stack([distance(drawn, one[None].expand_as(drawn)).argmin() for one in image])
    return candidates[nearest].clone(), sigma


def distance(made: Tensor, image: Tensor) -> Tensor:
    """Mean squared error per image [N], summed over three sizes."""
    total = made.new_zeros(len(made))
    for _ in range(3):
        total = total + (made - image).square().mean((1, 2, 3))
        made, image = F.avg_pool2d(made, 2), F.avg_pool2d(image, 2)
    return total


def learning_rate_scale(t: float) -> float:
    """Rise over the first 5 %, fall by a cosine over the last quarter (appendix D); ``t`` from 0 to 1."""
    down = min(1.0, (1 - t) / RAMP_DOWN)
    return min(1.0, t / RAMP_UP + 1e-2) * (0.5 - 0.5 * math.cos(down * math.pi))
