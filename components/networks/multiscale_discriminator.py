"""MUNIT's multi-scale discriminator (Huang et al. 2018, arXiv 1804.04732, section 5.1; Wang et al. 2018, arXiv 1711.11585)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from .published import load_fitting
from .translator_blocks import ConvBlock, check_at_least_one, from_published, wide

MOST_SCALES = 3  # published
SMALL = 64  # pixels; below, one layer less than the published four


class MUNITDiscriminator(nn.Module):
    """Score patches of an image [N, C, H, W] in [-1, 1] at several scales; published for 256 px: 8,271,171 parameters.

    Each scale halves the previous one's image and has a network of its own. ``width``: channels of the first layer, doubled by
    each of the ``layers``, which halve the sides (None: 4 from 64 px, else 3); ``scales`` (None: until a score sees the whole
    image, at most 3). At 256 px the defaults are the published 4 and 3.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self, *, image_size: int, channels: int, width: int = 64, layers: int | None = None, scales: int | None = None
    ):
        super().__init__()
        assert min(image_size, channels) >= 1
        layers = layers if layers is not None else 4 if image_size >= SMALL else 3
        scales = scales if scales is not None else scales_for(image_size, layers)
        check_at_least_one(width=width, layers=layers, scales=scales)
        _check_size(image_size, layers, scales)
        self.cnns = nn.ModuleList(_one_scale(channels, width, layers) for _ in range(scales))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> list[Tensor]:
        """float32 [N, C, H, W] in [-1, 1] -> unbounded scores [N, 1, h, w] per scale, the finest first."""
        scores = []
        for i, cnn in enumerate(self.cnns):
            image = self.halve(image) if i else image
            scores.append(wide(cnn(image)))
        return scores

    def load_published(self, state: Mapping[str, Tensor]) -> list[str]:
        """Load one domain's tensors of a ``dis_*.pt`` (``translator_blocks.of_domain``), or another run's; no notes.

        ValueError lists what does not fit; the weights are then unchanged.
        """
        load_fitting(self, from_published(state))
        return []


def field(layers: int) -> int:
    """Receptive field in pixels of a score at the finest scale: each 4x4 convolution with stride 2 adds 3 of its input's."""
    return 1 + 3 * (2**layers - 1)


def scales_for(image_size: int, layers: int) -> int:
    """The fewest scales whose coarsest score sees the whole image, at most the published 3."""
    scales = 1
    while scales < MOST_SCALES and field(layers) * 2 ** (scales - 1) < image_size:
        scales += 1
    return scales


def _one_scale(channels: int, width: int, layers: int) -> nn.Sequential:
    widths = [channels, *(width * 2**i for i in range(layers))]
    blocks = [ConvBlock(widths[i], widths[i + 1], 4, stride=2, activation=nn.LeakyReLU(0.2)) for i in range(layers)]
    return nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, 1))


def _check_size(image_size: int, layers: int, scales: int) -> None:
    """Raise ValueError unless reflection padding has its 2 pixels at the last layer of the coarsest scale."""
    least = 2 ** (layers + scales - 1) - 2 ** (scales - 1) + 1  # halving rounds up
    if image_size < least:
        raise ValueError(
            f"image_size: {image_size} is too small for layers: {layers} and scales: {scales}, which need {least} pixels; "
            "take fewer"
        )


def _initialise(module: nn.Module) -> None:
    """Initialise as published: weights N(0, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
