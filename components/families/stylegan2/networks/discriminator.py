"""StyleGAN2's discriminator: residual (arXiv 1912.04958, figure 7c), or plain as in ADA's CIFAR-10 runs."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from .blocks import BiasedLeakyReLU, EqualConv2d, EqualLinear, blur, minibatch_deviation, widths_by_side
from .generator import Mapping

CLASS_LAYERS = 8  # of the network that maps a class to a direction


class Blur(nn.Module):
    """Filter without subsampling, or with ``stride``."""

    def __init__(self, padding: int, stride: int = 1):
        super().__init__()
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return blur(x, self.padding, stride=self.stride)


def conv_layer(width_in: int, width: int, kernel: int, *, halve: bool = False) -> nn.Sequential:
    """Convolution, bias and leaky ReLU; with ``halve`` filtered and with stride 2."""
    if not halve:
        return nn.Sequential(EqualConv2d(width_in, width, kernel, padding=kernel // 2), BiasedLeakyReLU(width))
    return nn.Sequential(Blur(2), EqualConv2d(width_in, width, kernel, stride=2), BiasedLeakyReLU(width))


class Block(nn.Module):
    """[N, in, H, W] -> [N, out, H / 2, W / 2]; ``residual``: with a skip, the sum divided by sqrt(2)."""

    def __init__(self, width_in: int, width: int, residual: bool):
        super().__init__()
        self.conv1 = conv_layer(width_in, width_in, 3)
        self.conv2 = conv_layer(width_in, width, 3, halve=True)
        self.skip = nn.Sequential(Blur(1, stride=2), EqualConv2d(width_in, width, 1)) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.conv1(x))
        return h if self.skip is None else (h + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """29,012,513 parameters at 1024 px with the defaults.

    ``num_classes`` 0: one score an image. Otherwise the score is a projection on a direction mapped from the class (Miyato &
    Koyama 2018, arXiv 1802.05637, as in StyleGAN2-ADA). ``deviation_group``: images over which the minibatch's standard
    deviation is taken; None: all.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_classes: int = 0,
        base: int = 32768,
        max_width: int = 512,
        kind: Literal["residual", "plain"] = "residual",
        deviation_group: int | None = 4,
        class_dim: int = 512,
    ):
        super().__init__()
        widths = widths_by_side(image_size, base, max_width)
        self.deviation_group = deviation_group
        sides = sorted(widths, reverse=True)
        blocks = [Block(widths[side], widths[side // 2], kind == "residual") for side in sides[:-1]]
        self.convs = nn.Sequential(conv_layer(channels, widths[image_size], 1), *blocks)
        self.final_conv = conv_layer(widths[4] + 1, widths[4], 3)
        outputs = class_dim if num_classes else 1
        self.final_linear = nn.Sequential(
            EqualLinear(widths[4] * 16, widths[4], activate=True), EqualLinear(widths[4], outputs)
        )
        self.mapping = ClassMapping(num_classes, class_dim) if num_classes else None

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """image [N, C, H, W] in [-1, 1], class int64 [N] or None -> logits [N]."""
        x = minibatch_deviation(self.convs(image), self.deviation_group)
        x = self.final_linear(self.final_conv(x).flatten(1))
        if self.mapping is None:
            return x[:, 0]
        assert label is not None
        direction = self.mapping(label)
        return (x * direction).sum(1) / math.sqrt(direction.shape[1])


class ClassMapping(nn.Module):
    """class int64 [N] -> direction [N, D]: a mapping network without latent."""

    def __init__(self, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        self.embed = EqualLinear(num_classes, width)
        self.layers = Mapping(width, width, CLASS_LAYERS).style

    def forward(self, label: Tensor) -> Tensor:
        one_hot = torch.nn.functional.one_hot(label, self.num_classes).to(self.embed.weight.dtype)
        return self.layers(self.embed(one_hot))
