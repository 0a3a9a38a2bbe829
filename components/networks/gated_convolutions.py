"""Gated convolutions for pictures of sound: along time alone (1-D, the bins are channels) or along both axes (2-D).

Both kinds are written as 2-D convolutions; of the first kind a picture is [N, C bins, 1, T].
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.networks.published import ClassNames

Kind = Literal["1d", "2d"]  # the annotation of a network's option
Pair = tuple[int, int]
SMALLEST = 16  # pixels of a side
FACTOR = 4  # by which encoders shrink the sides


class GatedConvolution(nn.Module):
    """(x * W + b) sigmoid(x * V + c) (Dauphin et al. 2017, arXiv 1612.08083, eq. 1), the label as constant maps beside x.

    ``labels``: channels of these maps, 0 for none; ``normed``: a norm over all channels and positions of one picture before
    the gate. It keeps the label's constant share, which an instance norm would remove, and mixes no pictures.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Pair,
        stride: Pair = (1, 1),
        *,
        labels: int = 0,
        normed: bool = True,
        transposed: bool = False,
    ):
        super().__init__()
        padding = ((kernel[0] - stride[0] + 1) // 2, (kernel[1] - stride[1] + 1) // 2)
        convolution = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.convolution = convolution(inputs + labels, 2 * outputs, kernel, stride, padding)
        self.norm = nn.GroupNorm(1, 2 * outputs) if normed else nn.Identity()

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """[N, C, h, w], label [N, labels] -> [N, outputs, h / stride, w / stride]; transposed: times the stride."""
        return F.glu(self.norm(self.convolution(x if label is None else with_label(x, label))), dim=1)


def with_label(x: Tensor, label: Tensor) -> Tensor:
    """Append the label [N, K] as constant maps: [N, C, h, w] -> [N, C + K, h, w]."""
    maps = label[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, maps.to(x.dtype)], dim=1)


class Shape:
    """How a picture [N, C, H, W] enters networks of a kind: as it is, or with its rows as channels."""

    def __init__(self, kind: Kind, image_size: int | Pair, channels: int):
        """ValueError for pictures that the networks cannot shrink."""
        self.kind, self.picture_channels = kind, channels
        self.height, self.width = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        if min(self.height, self.width) < SMALLEST or self.height % FACTOR or self.width % FACTOR:
            size = f"{self.height} x {self.width}"
            raise ValueError(f"image_size: {size} is not allowed: multiples of {FACTOR} pixels, at least {SMALLEST}")

    @property
    def channels(self) -> int:
        """Of the networks' input."""
        return self.picture_channels * self.height if self.kind == "1d" else self.picture_channels

    @property
    def rows(self) -> int:
        """Rows of the networks' input."""
        return 1 if self.kind == "1d" else self.height

    def enter(self, image: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, channels, rows, W]."""
        return image.reshape(image.shape[0], self.channels, self.rows, self.width)

    def leave(self, x: Tensor) -> Tensor:
        """Invert ``enter``."""
        return x.reshape(x.shape[0], self.picture_channels, self.height, self.width)


Layers = list[tuple[int, Pair, Pair]]  # channels, kernel, stride


def encoder_layers(shape: Shape, width: int) -> Layers:
    """Layers down to a quarter of the frames, of the 2-D network also to a single row (arXiv 1806.02169, figure 2)."""
    if shape.kind == "1d":
        kernels: list[tuple[int, int, int]] = [(width, 9, 1), (width, 8, 2), (width, 8, 2), (width, 5, 1)]
        narrow = max(1, width // 4)
        return [(out, (1, kernel), (1, stride)) for out, kernel, stride in [*kernels, (narrow, 5, 1)]]
    whole = (shape.height // 4, 5)
    return [
        (width, (3, 9), (1, 1)),
        (2 * width, (4, 8), (2, 2)),
        (4 * width, (4, 8), (2, 2)),
        (2 * width, (3, 5), (1, 1)),
        (5, whole, (whole[0], 1)),
    ]


def critic_layers(shape: Shape, width: int) -> Layers:
    """Layers of a discriminator, which shrink the frames alone."""
    if shape.kind == "1d":
        return [(width, (1, kernel), (1, stride)) for kernel, stride in ((9, 1), (8, 2), (8, 2), (5, 1))]
    return [(width, (3, kernel), (1, stride)) for kernel, stride in ((9, 1), (8, 2), (8, 2))]


class Gated(nn.Module):
    """Gated convolutions in a row, each told the label if ``labels`` is its length and not 0."""

    def __init__(self, inputs: int, layers: Layers, *, labels: int = 0, normed: bool = True):
        super().__init__()
        widths = [inputs, *(out for out, _, _ in layers)]
        self.outputs = widths[-1]
        self.layers = nn.ModuleList(
            GatedConvolution(before, out, kernel, stride, labels=labels, normed=normed)
            for before, (out, kernel, stride) in zip(widths[:-1], layers, strict=True)
        )

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """[N, C, h, w], label [N, labels] -> [N, outputs, h', w']."""
        for layer in self.layers:
            x = layer(x, label)
        return x


class Decoder(nn.Module):
    """The mirror image of ``encoder_layers``, each layer told the label: [N, inputs, h, W / 4] -> [N, outputs, rows, W]."""

    def __init__(self, shape: Shape, inputs: int, width: int, *, labels: int, outputs: int):
        super().__init__()
        layers = encoder_layers(shape, width)
        widths = [*(out for out, _, _ in layers[:-1]), inputs]
        self.layers = nn.ModuleList(
            GatedConvolution(
                widths[index],
                widths[index - 1],
                layers[index][1],
                layers[index][2],
                labels=labels,
                transposed=layers[index][2] != (1, 1),
            )
            for index in range(len(layers) - 1, 0, -1)
        )
        kernel = layers[0][1]
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.last = nn.Conv2d(widths[0] + labels, outputs, kernel, padding=padding)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """label [N, labels]."""
        for layer in self.layers:
            x = layer(x, label)
        outputs: Tensor = self.last(with_label(x, label))
        return outputs


class DomainClassifier(nn.Module):
    """Whose voice it is: the mean of the logits over all positions, as the papers' product of probabilities."""

    def __init__(self, shape: Shape, num_domains: int, width: int):
        super().__init__()
        self.shape = shape
        layers = critic_layers(shape, width)
        if shape.kind == "2d":
            narrow = [max(1, width // 4), max(1, width // 2), width]
            layers = [(out, (4, 4), (2, 2)) for out in narrow] + [(max(1, width // 2), (3, 4), (1, 2))]
        self.layers = Gated(shape.channels, layers, normed=False)
        self.last = nn.Conv2d(self.layers.outputs, num_domains, (1, 3), padding=(0, 1))

    def forward(self, image: Tensor) -> Tensor:
        """[N, C, H, W] -> logits [N, K]."""
        logits: Tensor = self.last(self.layers(self.shape.enter(image)))
        return logits.mean(dim=(2, 3))


def require_same_voices(names: ClassNames | None) -> None:
    """Raise ValueError if a file's voices are not this run's, in the same order."""
    if names is not None and names.disagree():
        raise ValueError(f"the file's voices are {', '.join(names.file or ())}, this run's {', '.join(names.own)}")


def check_at_least_1(**options: int | None) -> None:
    """Raise ValueError for an option below 1."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}: {value} is not allowed: at least 1")
