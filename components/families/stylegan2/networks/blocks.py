"""StyleGAN2's layers (arXiv 1912.04958; equalised learning rates: arXiv 1710.10196), named as in rosinality's files."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTER = (1.0, 3.0, 3.0, 1.0)  # of all up- and downsampling, over its sum (section 3.1 of arXiv 1912.04958, from StyleGAN)
SLOPE, GAIN = 0.2, math.sqrt(2)  # of the leaky ReLU, and what keeps its output's variance
EPSILON = 1e-8


class EqualLinear(nn.Module):
    """[N, in] -> [N, out]; weights from N(0, 1) / ``rate``, scaled at run time by rate / sqrt(in) (arXiv 1710.10196, 4.1).

    ``rate``: factor on the learning rate of the layer; ``activate``: leaky ReLU with its gain; ``bias``: its initial value.
    """

    def __init__(self, width_in: int, width: int, *, bias: float = 0.0, rate: float = 1.0, activate: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width_in) / rate)
        self.bias = nn.Parameter(torch.full((width,), bias / rate))
        self.scale, self.rate, self.activate = rate / math.sqrt(width_in), rate, activate

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return F.leaky_relu(x, SLOPE) * GAIN if self.activate else x


class EqualConv2d(nn.Module):
    """[N, in, H, W] -> [N, out, H / stride, W / stride], without bias; ``padding`` as in a convolution."""

    def __init__(self, width_in: int, width: int, kernel: int, *, stride: int = 1, padding: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width_in, kernel, kernel))
        self.scale, self.stride, self.padding = 1 / math.sqrt(width_in * kernel**2), stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class BiasedLeakyReLU(nn.Module):
    """Add a bias per channel, then leaky ReLU with its gain."""

    def __init__(self, width: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias.view(1, -1, 1, 1), SLOPE) * GAIN


def blur(x: Tensor, padding: int, *, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter each channel of [N, C, H, W] by the outer product of ``FILTER``, and keep every ``stride``-th pixel."""
    channels = x.shape[1]
    kernel = (gain * _kernel(x)).expand(channels, 1, -1, -1)
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=channels)


def enlarge(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2 H, 2 W]: zeros in between, filtered, in one transposed convolution."""
    channels = x.shape[1]
    kernel = (4.0 * _kernel(x)).expand(channels, 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


def _kernel(x: Tensor) -> Tensor:
    """The filter, summing to 1: [4, 4]."""
    row = torch.tensor(FILTER, dtype=x.dtype, device=x.device)
    return torch.outer(row, row) / row.sum().square()


class ModulatedConv2d(nn.Module):
    """Convolve with weights modulated by a style and demodulated (arXiv 1912.04958, eq. 1 and 3).

    x [N, in, H, W], style [N, S] -> [N, out, H, W], with ``upsample`` twice the sides. Scaling the weights of image n by s_i
    and by 1 / sigma_j is scaling its inputs by s_i and its outputs by 1 / sigma_j: one convolution for the batch, no groups.
    """

    def __init__(self, width_in: int, width: int, kernel: int, style_dim: int, *, demodulate: bool, upsample: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width_in, kernel, kernel))
        self.modulation = EqualLinear(style_dim, width_in, bias=1.0)
        self.scale, self.padding = 1 / math.sqrt(width_in * kernel**2), kernel // 2
        self.demodulate, self.upsample = demodulate, upsample

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight, scales = self.weight * self.scale, self.modulation(style)
        x = x * scales[:, :, None, None].to(x.dtype)
        if self.upsample:
            x = F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2)
            x = blur(x, padding=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=self.padding)
        if not self.demodulate:
            return x
        exact = torch.promote_types(x.dtype, torch.float32)
        power = F.linear(scales.to(exact).square(), weight.to(exact).square().sum((2, 3)))  # [N, out]: sum over i and k
        return x * torch.rsqrt(power + EPSILON)[:, :, None, None].to(x.dtype)


class NoiseInjection(nn.Module):
    """Add noise [N, 1, H, W] times one learnt strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise.to(x.dtype)


class StyledConv(nn.Module):
    """Modulated 3 x 3 convolution, noise, bias, leaky ReLU (arXiv 1912.04958, figure 2c)."""

    def __init__(self, width_in: int, width: int, style_dim: int, *, upsample: bool = False):
        super().__init__()
        self.conv = ModulatedConv2d(width_in, width, 3, style_dim, demodulate=True, upsample=upsample)
        self.noise = NoiseInjection()
        self.activate = BiasedLeakyReLU(width)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, style), noise))


class ToImage(nn.Module):
    """Modulated 1 x 1 convolution to the image's channels, without demodulation, added to the enlarged smaller image."""

    def __init__(self, width: int, channels: int, style_dim: int):
        super().__init__()
        self.conv = ModulatedConv2d(width, channels, 1, style_dim, demodulate=False, upsample=False)
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, style: Tensor, smaller: Tensor | None = None) -> Tensor:
        image = self.conv(x, style) + self.bias
        return image if smaller is None else image + enlarge(smaller.to(image.dtype))


def normalised(x: Tensor) -> Tensor:
    """[N, D] -> the same with a mean square of 1 per row."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


def minibatch_deviation(x: Tensor, group: int | None) -> Tensor:
    """Append a channel: the mean over [C, H, W] of the standard deviation over ``group`` images (arXiv 1710.10196, section 3).

    Groups are consecutive images, so that processes whose shares are multiples of a group see the same ones; None: the batch is
    one group. A batch of fewer images is one group too.
    """
    number = len(x)
    size = number if group is None else min(group, number)
    if number % size:
        raise ValueError(f"batch of {number} images: not a multiple of the minibatch deviation's group of {size}")
    groups = x.to(torch.promote_types(x.dtype, torch.float32)).view(-1, size, *x.shape[1:])
    deviation = (groups.var(1, unbiased=False) + EPSILON).sqrt().mean((1, 2, 3))
    plane = deviation.repeat_interleave(size).view(number, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, plane.to(x.dtype)], dim=1)


def widths_by_side(image_size: int, base: int, max_width: int) -> dict[int, int]:
    """Side in pixels -> channels: ``base`` / side, at most ``max_width``; from 4 pixels up."""
    sides = [2**power for power in range(2, image_size.bit_length())]
    return {side: max(1, min(base // side, max_width)) for side in sides}
