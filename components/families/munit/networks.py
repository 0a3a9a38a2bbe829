"""MUNIT's auto-encoder of one domain (Huang et al. 2018, arXiv 1804.04732, section 5.1), with content and style codes.

Translation is ``decode`` of the target domain's network with the content that the source domain's network encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.published import Fitted, taken_whole
from ...networks.translator_blocks import (
    ContentEncoder,
    ConvBlock,
    adaptive_instance_norm,
    check_at_least_one,
    check_content_size,
    from_published,
    kaiming,
    way_up,
    wide,
)

SMALL = 64  # pixels; below, one down-sampling of the style encoder less


class StyleEncoder(nn.Module):
    """Image [N, C, H, W] -> style [N, S]; no norms, because they remove means and variances, which carry style."""

    def __init__(self, channels: int, width: int, downsamplings: int, style_width: int):
        super().__init__()
        widths = [width * min(2**i, 4) for i in range(downsamplings + 1)]
        layers: list[nn.Module] = [ConvBlock(channels, width, 7, activation=nn.ReLU())]
        for width_in, width_out in pairwise(widths):
            layers.append(ConvBlock(width_in, width_out, 4, stride=2, activation=nn.ReLU()))
        self.model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[-1], style_width, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image).flatten(1)


class LinearBlock(nn.Module):
    """[N, A] -> [N, B]: a linear layer, with ReLU if ``active``."""

    def __init__(self, width_in: int, width: int, *, active: bool):
        super().__init__()
        self.fc = nn.Linear(width_in, width)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x)) if self.active else self.fc(x)


class MLP(nn.Module):
    """Style [N, S] -> [N, L, 2, C]: shift, then scale, of the decoder's L adaptive norms of C channels."""

    def __init__(self, style_width: int, hidden: int, layers: int, width: int):
        super().__init__()
        self.shape = (layers, 2, width)
        first, second = LinearBlock(style_width, hidden, active=True), LinearBlock(hidden, hidden, active=True)
        self.model = nn.Sequential(first, second, LinearBlock(hidden, layers * 2 * width, active=False))

    def forward(self, style: Tensor) -> Tensor:
        return self.model(style).unflatten(1, self.shape)


class StyledResBlock(nn.Module):
    """x + two 3x3 convolutions, each with an adaptive norm: [N, C, H, W], parameters [N, 2, 2, C] -> [N, C, H, W]."""

    def __init__(self, width: int):
        super().__init__()
        self.model = nn.ModuleList([ConvBlock(width, width, 3), ConvBlock(width, width, 3)])

    def forward(self, x: Tensor, parameters: Tensor) -> Tensor:
        first, second = self.model
        h = F.relu(adaptive_instance_norm(first(x), parameters[:, 0, 0], parameters[:, 0, 1]))
        return x + adaptive_instance_norm(second(h), parameters[:, 1, 0], parameters[:, 1, 1])


class StyledResBlocks(nn.Module):
    """``count`` styled blocks in a row: [N, C, H, W], parameters [N, 2 count, 2, C] -> [N, C, H, W]."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.model = nn.ModuleList(StyledResBlock(width) for _ in range(count))

    def forward(self, x: Tensor, parameters: Tensor) -> Tensor:
        for i, block in enumerate(self.model):
            x = block(x, parameters[:, 2 * i : 2 * i + 2])
        return x


class Decoder(nn.Module):
    """Content [N, width 2^d, h, w], the norms' parameters [N, L, 2, width 2^d] -> image [N, C, 2^d h, 2^d w] in (-1, 1)."""

    def __init__(self, channels: int, width: int, downsamplings: int, blocks: int):
        super().__init__()
        self.model = nn.ModuleList([StyledResBlocks(width * 2**downsamplings, blocks), *way_up(width, downsamplings, channels)])

    def forward(self, content: Tensor, parameters: Tensor) -> Tensor:
        styled, *rest = self.model
        h = styled(content, parameters)
        for layer in rest:
            h = layer(h)
        return h


class MUNIT(nn.Module):
    """Image [N, C, H, W] in [-1, 1] <-> content and style; published for 256 px: 15,026,187 parameters.

    ``width``: channels at full size, doubled by each downsampling; ``downsamplings``: layers that halve the sides; ``blocks``:
    residual blocks of the content encoder and of the decoder; ``style_width``: S, numbers of a style; ``mlp_width``: of the
    network from the style to AdaIN's parameters; ``style_downsamplings``: of the style encoder, before its global average
    (None: the published 4 from 64 px, else 3).
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        width: int = 64,
        downsamplings: int = 2,
        blocks: int = 4,
        style_width: int = 8,
        mlp_width: int = 256,
        style_downsamplings: int | None = None,
    ):
        super().__init__()
        assert min(image_size, channels) >= 1
        check_at_least_one(width=width, blocks=blocks, style_width=style_width, mlp_width=mlp_width)
        check_content_size(image_size, downsamplings)
        if style_downsamplings is None:
            style_downsamplings = 4 if image_size >= SMALL else 3
        _check_style_size(image_size, style_downsamplings)
        self.style_width = style_width
        self.enc_style = StyleEncoder(channels, width, style_downsamplings, style_width)
        self.enc_content = ContentEncoder(channels, width, downsamplings, blocks)
        self.dec = Decoder(channels, width, downsamplings, blocks)
        self.mlp = MLP(style_width, mlp_width, 2 * blocks, width * 2**downsamplings)
        self.apply(kaiming)

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W] in [-1, 1] -> content [N, width 2^d, H / 2^d, W / 2^d], style [N, S]."""
        return self.enc_content(image), self.enc_style(image)

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Content and style [N, S], of the prior N(0, 1) or encoded -> float32 [N, C, H, W] in (-1, 1)."""
        return wide(self.dec(content, self.mlp(style)))

    def forward(self, image: Tensor) -> Tensor:
        """The reconstruction, decode(encode(image))."""
        return self.decode(*self.encode(image))

    def load_published(self, state: Mapping[str, Tensor]) -> Fitted:
        """Load one domain's tensors of a ``gen_*.pt`` (``translator_blocks.of_domain``), or another run's.

        ValueError lists what does not fit; the weights are then unchanged.
        """
        return taken_whole(self, from_published(state))


class Encoding(nn.Module):
    """``encode`` as a module to export: image -> (content, style)."""

    def __init__(self, network: MUNIT):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.encode(image)


class Decoding(nn.Module):
    """``decode`` as a module to export: content, style -> image."""

    def __init__(self, network: MUNIT):
        super().__init__()
        self.network = network

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        return self.network.decode(content, style)


def _check_style_size(image_size: int, downsamplings: int) -> None:
    if downsamplings < 0:
        raise ValueError(f"style_downsamplings: {downsamplings} is not allowed: 0 or more, or null")
    if image_size < 2**downsamplings:
        raise ValueError(
            f"image_size: {image_size} is too small for style_downsamplings: {downsamplings}, "
            f"which needs {2**downsamplings} pixels"
        )
