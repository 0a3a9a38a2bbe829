"""StarGAN v2 (Choi et al. 2020, arXiv 1912.01865): translation between several domains in many styles.

The generator (table "Generator architecture" of the appendix), and all four networks as one module; the other three are in
``domains.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.published import ClassNames, Fit, Fitted, below
from .blocks import SLOPE, DownBlock, UpBlock, he_initialised, ladder
from .domains import Discriminator, MappingNetwork, StyleEncoder, fit_domains

MASKED = (32, 64, 128)  # pixels: where the high-pass skip adds detail
Masks = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Content:
    """An encoded image: ``code`` [N, width, h, w], and side -> edges [N, ., side, side] for the decoder to add."""

    code: Tensor
    edges: dict[int, Tensor]

    def detach(self) -> Content:
        return Content(self.code.detach(), {side: edges.detach() for side, edges in self.edges.items()})


class HighPass(nn.Module):
    """(8 x pixel - its eight neighbours) / ``strength``: [N, C, H, W] -> [N, C, H, W]."""

    filter: Tensor

    def __init__(self, strength: float):
        super().__init__()
        kernel = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]])
        self.register_buffer("filter", kernel / strength)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.filter.to(x.dtype).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


class Generator(nn.Module):
    """Render an image in a style. 43,467,395 parameters at 256 px with ``high_pass``, 33,892,995 without.

    ``width``, ``max_width``: see ``ladder``. ``bottleneck``: smallest side in pixels that halving may lead to. ``high_pass``
    (0: none) is the paper's generator of faces: one more halving, no residual connections in the decoder, and a skip of edges,
    divided by this number, for the masks that ``forward`` is given.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        style_dim: int = 64,
        width: int | None = None,
        max_width: int = 512,
        bottleneck: int = 16,
        high_pass: float = 0.0,
    ):
        super().__init__()
        assert channels >= 1
        halvings = _halvings(image_size, bottleneck, high_pass)
        widths = ladder(image_size, width, max_width, halvings)
        steps, last = list(pairwise(widths)), widths[-1]
        self.from_rgb = nn.Conv2d(channels, widths[0], 3, padding=1)
        down = [DownBlock(wide, wider, halve=True, norm=True) for wide, wider in steps]
        self.encode = nn.ModuleList([*down, *(DownBlock(last, last, halve=False, norm=True) for _ in range(2))])
        residual = high_pass == 0
        level = [UpBlock(last, last, style_dim, enlarge=False, residual=residual) for _ in range(2)]
        up = [UpBlock(wider, wide, style_dim, enlarge=True, residual=residual) for wide, wider in reversed(steps)]
        self.decode = nn.ModuleList([*level, *up])
        norm = nn.InstanceNorm2d(widths[0], affine=True)
        self.to_rgb = nn.Sequential(norm, nn.LeakyReLU(SLOPE), nn.Conv2d(widths[0], channels, 1))
        self.hpf = HighPass(high_pass) if high_pass > 0 else None
        self.apply(he_initialised)

    def forward(self, image: Tensor, style: Tensor, masks: Masks | None = None) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1], style [N, style_dim] -> [N, C, H, W], about [-1, 1], not bounded.

        ``masks`` [N, 1, h, w] of any size, only with ``high_pass``: weights of the input's edges at 32 pixels, and at 64 and
        128. The authors compute them from a face's landmarks.
        """
        return self.render(self.content(image, masks), style)

    def content(self, image: Tensor, masks: Masks | None = None) -> Content:
        """The first half of ``forward``, which does not depend on the style."""
        if masks is not None and self.hpf is None:
            raise ValueError("masks: given, but this generator was built without high_pass")
        x, edges = self.from_rgb(image), {}
        for block in self.encode:
            if masks is not None and x.shape[2] in MASKED:
                assert self.hpf is not None
                mask = F.interpolate(masks[0 if x.shape[2] == MASKED[0] else 1], size=x.shape[2:], mode="bilinear")
                edges[x.shape[2]] = self.hpf(mask * x)
            x = block(x)
        return Content(x, edges)

    def render(self, content: Content, style: Tensor) -> Tensor:
        """The second half of ``forward``: contents of N images and style [N, style_dim] -> [N, C, H, W]."""
        x = content.code
        for block in self.decode:
            x = block(x, style)
            if x.shape[2] in content.edges:
                x = x + content.edges[x.shape[2]]
        return self.to_rgb(x)


def edges_everywhere(generator: Generator, image: Tensor) -> Masks | None:
    """Masks without landmarks: 1 at every pixel; None without ``high_pass``."""
    one = image.new_ones(1, 1, 1, 1)
    return None if generator.hpf is None else (one, one)


class Translator(nn.Module):
    """The generator as it is trained and exported: image [N, C, H, W], style [N, S] -> [N, C, H, W]."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        return self.generator(image, style, edges_everywhere(self.generator, image))


class StarGANv2(nn.Module):
    """The four networks, which share the widths of styles and images. All but ``discriminator`` are averaged.

    ``latent_dim``: numbers that the mapping network draws a style from; ``style_dim``: numbers of a style; ``width``: channels
    at full size (None: by the image size, as published); ``max_width``: most channels of a layer; ``mapping_width``: width of
    the mapping network's hidden layers; ``bottleneck``: side of the smallest feature maps in pixels; ``high_pass``: weight of
    the high-pass filter in the generator's skips; 0: none.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_domains: int,
        latent_dim: int = 16,
        style_dim: int = 64,
        width: int | None = None,
        max_width: int = 512,
        mapping_width: int = 512,
        bottleneck: int = 16,
        high_pass: float = 0.0,
    ):
        super().__init__()
        for name, value in {"latent_dim": latent_dim, "style_dim": style_dim, "mapping_width": mapping_width}.items():
            if value < 1:
                raise ValueError(f"{name}: {value} is not allowed: at least 1")
        if num_domains < 2:
            raise ValueError(f"num_domains: {num_domains} is not allowed: at least 2 to translate between")
        self.generator = Generator(
            image_size=image_size,
            channels=channels,
            style_dim=style_dim,
            width=width,
            max_width=max_width,
            bottleneck=bottleneck,
            high_pass=high_pass,
        )
        self.mapping_network = MappingNetwork(
            num_domains=num_domains, latent_dim=latent_dim, style_dim=style_dim, width=mapping_width
        )
        self.style_encoder = StyleEncoder(
            image_size=image_size,
            channels=channels,
            num_domains=num_domains,
            style_dim=style_dim,
            width=width,
            max_width=max_width,
        )
        self.discriminator = Discriminator(
            image_size=image_size, channels=channels, num_domains=num_domains, width=width, max_width=max_width
        )

    @staticmethod
    def from_published(state: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """A file of ``nets`` or ``nets_ema``, nested or flat -> network -> its tensors."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            nested = isinstance(value, Mapping)
            for key, tensor in ((f"{name}.{key}", value[key]) for key in value) if nested else [(name, value)]:
                network, _, rest = key.partition(".")
                parts.setdefault(network, {})[rest] = tensor
        return parts

    def load_published(self, state: Mapping[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load the authors' file.

        ``fan``, which finds landmarks, is left out. Networks that the file lacks and heads for other domains start fresh.
        ValueError lists what does not fit, and changes nothing.
        """
        parts = self.from_published(state)
        networks = dict(self.named_children())
        if not networks.keys() & parts.keys():
            raise ValueError(f"the published weights hold none of StarGAN v2's networks: {', '.join(networks)}")
        fit = Fit(self, {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.items()}, names)
        fit.leave_out("fan", below("fan", fit.state), "it finds landmarks in faces, no part of the model")
        for name, network in networks.items():
            if name not in parts:
                fit.start_fresh(name, "not in the file")
            elif isinstance(network, MappingNetwork | StyleEncoder | Discriminator):
                fit_domains(fit, f"{name}.{network.heads}")
        return fit.load()


def _halvings(image_size: int, bottleneck: int, high_pass: float) -> int:
    """How often the generator halves the sides; ValueError if it cannot."""
    if bottleneck < 4:
        raise ValueError(f"bottleneck: {bottleneck} is not allowed: at least 4 pixels")
    if image_size < bottleneck:
        raise ValueError(f"image_size: {image_size} is not allowed: at least the bottleneck, {bottleneck} pixels")
    if high_pass < 0:
        raise ValueError(f"high_pass: {high_pass} is not allowed: 0 for none, or more")
    left, halvings = image_size, 0
    while left % 2 == 0 and left // 2 >= bottleneck:
        left, halvings = left // 2, halvings + 1
    if high_pass > 0 and left % 2:
        raise ValueError(f"image_size: {image_size} is not allowed: with high_pass its {left} pixels are halved once more")
    return halvings + (high_pass > 0)
