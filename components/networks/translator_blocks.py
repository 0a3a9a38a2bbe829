"""What MUNIT's and UNIT's networks are made of (Huang et al. 2018, arXiv 1804.04732, section 5.1), named as published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .published import Fitted, taken_whole

EPSILON = 1e-5  # beside the variance (instance norm) or the deviation (layer norm)
MAX_SCALES = 3  # of the discriminator, as published
SMALL = 64  # pixels; for smaller images the discriminator has one layer less than the published four
UNUSED = re.compile(r"\.norm\.(running_mean|running_var|num_batches_tracked)$")  # in published files, unused


def wide(x: Tensor) -> Tensor:
    """Convert to float32 at least: sums over an image in bf16 (autocast) lose digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def instance_norm(x: Tensor) -> Tensor:
    """[N, C, H, W] -> mean 0 and variance 1 (biased) over the pixels of each image and channel (arXiv 1607.08022).

    Computed as a layer norm over H * W: the ONNX exporter turns the customary batch norm over [1, N * C, H, W] into one with
    statistics 0 and 1.
    """
    rows = x.flatten(2)
    return F.layer_norm(rows, rows.shape[2:], eps=EPSILON).view_as(x).to(x.dtype)


def adaptive_instance_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """[N, C, H, W], shift and scale [N, C] -> scale (x - mean) / deviation + shift, over pixels (section 5.1)."""
    return instance_norm(x) * scale[:, :, None, None] + shift[:, :, None, None]


class InstanceNorm(nn.Module):
    """``instance_norm`` as a layer: no parameters, and the same in training and evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x)


class LayerNorm(nn.Module):
    """gamma (x - mean) / (deviation + 1e-5) + beta, mean and unbiased deviation over C, H, W of an image, gamma and beta [C].

    torch's own divides by the root of the biased variance + 1e-5. For an image of one value, ``std`` has gradient 0, but the
    root of ``var`` an infinite one.
    """

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(nn.init.uniform_(torch.empty(width)))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(wide(x), (1, 2, 3), correction=1, keepdim=True)  # [N, 1, 1, 1]
        scale = self.gamma[:, None, None] / (deviation + EPSILON)  # [N, C, 1, 1]
        return ((x - mean) * scale + self.beta[:, None, None]).to(x.dtype)


class ConvBlock(nn.Module):
    """Reflection-padded convolution, norm, activation: [N, C, H, W] -> [N, width, H / stride, W / stride], rounded down."""

    def __init__(
        self,
        width_in: int,
        width: int,
        kernel: int,
        stride: int = 1,
        *,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, kernel, stride, padding=(kernel - 1) // 2, padding_mode="reflect")
        self.norm = norm or nn.Identity()
        self.activation = activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class ResBlock(nn.Module):
    """x + two normalised 3x3 convolutions, [N, width, H, W] -> the same."""

    def __init__(self, width: int):
        super().__init__()
        first = ConvBlock(width, width, 3, norm=InstanceNorm(), activation=nn.ReLU())
        self.model = nn.Sequential(first, ConvBlock(width, width, 3, norm=InstanceNorm()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class ResBlocks(nn.Module):
    """``count`` residual blocks in a row."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.model = nn.Sequential(*(ResBlock(width) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class ContentEncoder(nn.Module):
    """Image [N, C, H, W] -> content [N, width 2^d, H / 2^d, W / 2^d] after d ``downsamplings``; also UNIT's latent mean."""

    def __init__(self, channels: int, width: int, downsamplings: int, blocks: int):
        super().__init__()
        widths = [width * 2**i for i in range(downsamplings + 1)]
        layers: list[nn.Module] = [ConvBlock(channels, width, 7, norm=InstanceNorm(), activation=nn.ReLU())]
        for width_in, width_out in pairwise(widths):
            layers.append(ConvBlock(width_in, width_out, 4, stride=2, norm=InstanceNorm(), activation=nn.ReLU()))
        self.model = nn.Sequential(*layers, ResBlocks(widths[-1], blocks))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


def way_up(width: int, downsamplings: int, channels: int) -> list[nn.Module]:
    """Upsampling half of the decoders: [N, width 2^d, h, w] -> image [N, C, 2^d h, 2^d w] in (-1, 1)."""
    layers: list[nn.Module] = []
    for i in reversed(range(downsamplings)):
        half = width * 2**i
        layers += [nn.Upsample(scale_factor=2.0), ConvBlock(2 * half, half, 5, norm=LayerNorm(half), activation=nn.ReLU())]
    return [*layers, ConvBlock(width, channels, 7, activation=nn.Tanh())]


def check_at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name}: {value} is not allowed: at least 1")


def check_content_size(image_size: int, downsamplings: int) -> None:
    """Raise ValueError unless the decoder restores the image's size and reflection padding has its 2 pixels."""
    if downsamplings < 0:
        raise ValueError(f"downsamplings: {downsamplings} is not allowed: 0 or more")
    factor = 2**downsamplings
    if image_size < max(4, 2 * factor):
        raise ValueError(
            f"image_size: {image_size} is too small for downsamplings: {downsamplings}, which needs {max(4, 2 * factor)} pixels"
        )
    if image_size % factor:
        near = image_size // factor * factor
        raise ValueError(
            f"image_size: {image_size} is not a multiple of {factor}, so that downsamplings: {downsamplings} cannot be undone; "
            f"{near} and {near + factor} are, or take fewer downsamplings"
        )


def kaiming(module: nn.Module) -> None:
    """Initialise as published: normal with variance 2 / fan-in, biases 0 (arXiv 1502.01852, eq. 10)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def of_domain(file: Mapping[str, Any], domain: str) -> dict[str, Tensor]:
    """The tensors of domain "a" or "b" in a published ``gen_*.pt`` or ``dis_*.pt``.

    ValueError if the file has no such domain.
    """
    if not isinstance(file.get(domain), Mapping):
        found = ", ".join(sorted(key for key, value in file.items() if isinstance(value, Mapping))) or "none"
        raise ValueError(f"domain {domain!r}: not in the published file; its domains: {found}")
    return dict(file[domain])


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors without the running statistics that AdaIN's layers and old files' instance norms carry unused."""
    return {key: value for key, value in state.items() if not UNUSED.search(key)}


# ------------------------------------------------------------------------------------------------ discriminator


class MUNITDiscriminator(nn.Module):
    """Score patches of an image at several scales (Wang et al. 2018, arXiv 1711.11585); 8,271,171 parameters as published.

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

    def load_published(self, state: Mapping[str, Tensor]) -> Fitted:
        """Load one domain's tensors of a ``dis_*.pt`` (``of_domain``), or another run's.

        ValueError lists what does not fit; the weights are then unchanged.
        """
        return taken_whole(self, from_published(state))


def field(layers: int) -> int:
    """Receptive field in pixels of a score at the finest scale: each 4x4 convolution with stride 2 adds 3 of its input's."""
    return 1 + 3 * (2**layers - 1)


def scales_for(image_size: int, layers: int) -> int:
    """The fewest scales whose coarsest score sees the whole image, at most the published 3."""
    scales = 1
    while scales < MAX_SCALES and field(layers) * 2 ** (scales - 1) < image_size:
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
