"""PixelCNNs one pixel at a time: every layer caches its features, so that a new pixel costs the work of one pixel.

No feature depends on a later pixel, so cached features stay valid. What a layer takes from the rows above is computed for a
whole row at once when the row begins; each pixel then adds the contribution of its left neighbours, one matrix product per
layer. Batch norm is folded into the weights (eval mode).

Both caches have the same three methods, called in row-major order: ``begin_row()``; ``logits(pixel, column)``, once for each
colour to be drawn, at least once per pixel; ``write(pixel, column)`` when all colours of the pixel are known.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def folded(conv: Any, norm: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """(weight, bias) of a convolution with its mask and the following batch norm (eval mode) folded in."""
    weight = conv.weight * conv.mask if hasattr(conv, "mask") else conv.weight
    if not isinstance(norm, nn.BatchNorm2d):
        return weight, conv.bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return weight * scale[:, None, None, None], (conv.bias - norm.running_mean) * scale + norm.bias


class Point:
    """A 1 x 1 convolution: [N, A] -> [N, B]."""

    def __init__(self, conv: Any, norm: nn.Module | None = None):
        weight, self.bias = folded(conv, norm)
        self.matrix = weight[:, :, 0, 0].T.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.matrix)


class Beside:
    """Convolution over a pixel and ``reach`` pixels to its left, with zeros before the first.

    ``weight`` [B, A, reach + 1]; ``features`` [N, reach + W, A]: of this row up to the current pixel, then of the row above.
    """

    def __init__(self, weight: Tensor, batch: int, width: int):
        self.reach = weight.shape[2] - 1
        self.matrix = weight.permute(2, 1, 0).flatten(0, 1).contiguous()  # [(reach + 1) A, B]
        self.features = weight.new_zeros(batch, self.reach + width, weight.shape[1])

    def begin_row(self, above: Tensor) -> None:
        """``above`` [N, B, 1, W]: contribution of the rows above, with the bias."""
        self.above = above[:, :, 0].permute(2, 0, 1).contiguous()  # [W, N, B]

    def __call__(self, x: Tensor, column: int) -> Tensor:
        """Features [N, A] of the pixel -> [N, B]."""
        self.features[:, self.reach + column] = x
        window = self.features[:, column : column + self.reach + 1].flatten(1)  # [N, (reach + 1) A]
        return torch.addmm(self.above[column], window, self.matrix)


class Square:
    """A masked k x k convolution: [N, A] -> [N, B] at each pixel."""

    def __init__(self, conv: Any, norm: nn.Module, batch: int, width: int):
        weight, self.bias = folded(conv, norm)
        middle = weight.shape[2] // 2
        self.weight = weight[:, :, :middle].contiguous()
        self.beside = Beside(weight[:, :, middle, : middle + 1], batch, width)
        self.rows = weight.new_zeros(batch, weight.shape[1], middle + 1, width + 2 * middle)  # the last becomes the next row

    def begin_row(self) -> None:
        known = F.pad(self.beside.features.transpose(1, 2), (0, self.beside.reach))  # [N, A, W + 2 middle]
        self.rows = torch.cat([self.rows[:, :, 1:], known[:, :, None]], 2)
        self.beside.begin_row(F.conv2d(self.rows[:, :, 1:], self.weight, self.bias))


class ResidualCache:
    """Cache of ``PixelCNN`` for drawing ``batch`` images, ``width`` pixels wide."""

    def __init__(self, network: Any, batch: int, width: int, label: Tensor | None):
        assert label is None
        assert not network.training, "batch norm has no running value of its own in training mode"
        self.shape = (batch, network.levels, network.channels)
        self.first = Square(network.conv1, network.bn1, batch, width)
        self.blocks = [
            (Point(b.conv1, b.bn1), Square(b.conv2, b.bn2, batch, width), Point(b.conv3, b.bn3))
            for b in network.residual_blocks
        ]
        self.head = [Point(layer) for layer in network.head if isinstance(layer, nn.Conv2d)]

    def begin_row(self) -> None:
        self.first.begin_row()
        for _, square, _ in self.blocks:
            square.begin_row()

    def logits(self, pixel: Tensor, column: int) -> Tensor:
        """The colours known so far, float [N, C] -> logits [N, levels, C]; those of later colours are not valid yet."""
        x = self.first.beside(pixel, column)
        for narrow, square, wide in self.blocks:
            branch = narrow(F.relu(x)).relu_()
            branch = square.beside(branch, column).relu_()
            x = x + wide(branch)
        for point in self.head:
            x = point(x.relu_())
        return x.view(self.shape)

    def write(self, pixel: Tensor, column: int) -> None:
        self.first.beside.features[:, self.first.beside.reach + column] = pixel


class Stacks:
    """One ``GatedLayer``: the vertical stack row by row, the horizontal stack pixel by pixel."""

    def __init__(self, layer: Any, batch: int, width: int, label: Tensor | None):
        self.layer = layer
        weight, self.bias = folded(layer.horizontal)
        self.beside = Beside(weight[:, :, 0], batch, width)
        self.out = Point(layer.out)
        self.for_above, self.for_beside = (c if isinstance(c, float) else c[:, :, None, None] for c in layer.conditions(label))
        size = (batch, layer.vertical.in_channels, layer.reach + 1, width + 2 * layer.reach)
        self.rows = weight.new_zeros(size)

    def begin_row(self, above: Tensor) -> Tensor:
        """This row of the vertical stack's input [N, A, 1, W] -> of its output [N, B, 1, W]."""
        layer = self.layer
        self.rows = torch.cat([self.rows[:, :, 1:], F.pad(above, (layer.reach, layer.reach))], 2)
        seen = layer.vertical(self.rows)
        self.beside.begin_row(layer.link(seen) + self.bias[:, None, None] + self.for_beside)
        row: Tensor = layer.gate(seen + self.for_above)
        return row

    def __call__(self, x: Tensor, column: int) -> Tensor:
        change = self.out(self.layer.gate(self.beside(x, column)))
        return change if self.layer.first else x + change


class GatedCache:
    """Cache of ``GatedPixelCNN``; ``label`` int64 [N] for a conditional network."""

    def __init__(self, network: Any, batch: int, width: int, label: Tensor | None):
        self.shape = (batch, network.levels, network.channels)
        self.stacks = [Stacks(layer, batch, width, label) for layer in network.layers]
        self.head = [Point(layer) for layer in network.head if isinstance(layer, nn.Conv2d)]
        self.first = self.stacks[0].beside

    def begin_row(self) -> None:
        above = self.first.features[:, self.first.reach :].transpose(1, 2)[:, :, None]  # the row above, [N, C, 1, W]
        for stacks in self.stacks:
            above = stacks.begin_row(above)

    def logits(self, pixel: Tensor, column: int) -> Tensor:
        """The colours known so far, float [N, C] -> logits [N, levels, C]; those of later colours are not valid yet."""
        x = pixel
        for stacks in self.stacks:
            x = stacks(x, column)
        for point in self.head:
            x = point(F.relu(x))
        return x.view(self.shape)

    def write(self, pixel: Tensor, column: int) -> None:
        self.first.features[:, self.first.reach + column] = pixel


CACHES: dict[str, Any] = {"PixelCNN": ResidualCache, "GatedPixelCNN": GatedCache}


def cache_of(network: Any, batch: int, width: int, label: Tensor | None = None) -> ResidualCache | GatedCache:
    """An empty cache for ``batch`` images, ``width`` pixels wide; ``label`` int64 [N]."""
    cache: ResidualCache | GatedCache = CACHES[type(network).__name__](network, batch, width, label)
    return cache
