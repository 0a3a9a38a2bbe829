"""StarGAN v2's networks with an output per domain: mapping network, style encoder, discriminator (arXiv 1912.01865, appendix).

All return outputs for every domain, [N, num_domains, ...]; the caller selects a domain.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...networks.published import Fit
from .blocks import SLOPE, DownBlock, he_initialised, ladder


class MappingNetwork(nn.Module):
    """Map a latent code to a style per domain. 2,438,272 parameters for 2 domains.

    ``width``: of the hidden layers, four shared and three per domain.
    """

    heads: ClassVar[str] = "unshared."  # prefix of the layers that exist once per domain

    def __init__(self, *, num_domains: int, latent_dim: int = 16, style_dim: int = 64, width: int = 512):
        super().__init__()
        assert num_domains >= 1
        self.latent_dim, self.style_dim = latent_dim, style_dim
        self.shared = nn.Sequential(*_perceptron([latent_dim, width, width, width, width]), nn.ReLU())
        unshared = (nn.Sequential(*_perceptron([width, width, width, width, style_dim])) for _ in range(num_domains))
        self.unshared = nn.ModuleList(unshared)
        self.apply(he_initialised)

    def forward(self, latent: Tensor) -> Tensor:
        """z ~ N(0, I), float32 [N, latent_dim] -> styles [N, num_domains, style_dim]."""
        h = self.shared(latent)
        return torch.stack([head(h) for head in self.unshared], dim=1)


class StyleEncoder(nn.Module):
    """Encode an image's style for every domain. 20,916,928 parameters at 256 px for 2 domains.

    ``width`` and ``max_width``: see ``ladder``.
    """

    heads: ClassVar[str] = "unshared."

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_domains: int,
        style_dim: int = 64,
        width: int | None = None,
        max_width: int = 512,
    ):
        super().__init__()
        assert min(channels, num_domains) >= 1
        layers, last = _to_one_pixel(image_size, channels, width, max_width)
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList(nn.Linear(last, style_dim) for _ in range(num_domains))
        self.apply(he_initialised)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] -> styles [N, num_domains, style_dim]."""
        h = self.shared(image).flatten(1)
        return torch.stack([head(h) for head in self.unshared], dim=1)


class Discriminator(nn.Module):
    """Judge if an image is a real one of each domain. 20,852,290 parameters at 256 px for 2 domains."""

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_domains: int,
        width: int | None = None,
        max_width: int = 512,
    ):
        super().__init__()
        assert min(channels, num_domains) >= 1
        layers, last = _to_one_pixel(image_size, channels, width, max_width)
        self.main = nn.Sequential(*layers, nn.Conv2d(last, num_domains, 1))
        self.heads = f"main.{len(layers)}."
        self.apply(he_initialised)

    def forward(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] -> logits [N, num_domains]."""
        return self.main(image).flatten(1)


def fit_domains(fit: Fit, heads: str) -> None:
    """Keep the layers below the prefix ``heads`` only if the file's domains are this run's."""
    found, expected = (_num_domains(tensors, heads) for tensors in (fit.state, fit.own))
    fit.fit_classes(heads.removesuffix("."), found, expected, what="domains", none="no domains")


def _num_domains(state: dict[str, Tensor], heads: str) -> int:
    """Count one layer per domain, or one output per domain of a single layer."""
    if f"{heads}bias" in state:
        return state[f"{heads}bias"].numel()
    return len({key.removeprefix(heads).partition(".")[0] for key in state if key.startswith(heads)})


def _perceptron(widths: list[int]) -> list[nn.Module]:
    """Linear layers from width to width, with ReLU in between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


def _to_one_pixel(image_size: int, channels: int, width: int | None, max_width: int) -> tuple[list[nn.Module], int]:
    """Layers [N, C, H, W] -> [N, last, 1, 1], and last: residual blocks that halve to 4 (to 7) pixels, then a convolution."""
    left, halvings = image_size, 0
    while left >= 8 and left % 2 == 0:
        left, halvings = left // 2, halvings + 1
    if halvings < 1 or not 4 <= left <= 7:
        raise ValueError(f"image_size: {image_size} is not allowed: 4, 5, 6 or 7 pixels doubled, once or more often")
    widths = ladder(image_size, width, max_width, halvings)
    blocks = [DownBlock(a, b, halve=True, norm=False) for a, b in pairwise(widths)]
    last = widths[-1]
    ends = [nn.LeakyReLU(SLOPE), nn.Conv2d(last, last, left), nn.LeakyReLU(SLOPE)]
    return [nn.Conv2d(channels, widths[0], 3, padding=1), *blocks, *ends], last
