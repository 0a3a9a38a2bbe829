"""StarGAN-VC (Kameoka et al. 2018, arXiv 1806.02169, section 3 and figure 2): generator, discriminator, domain classifier.

2-D is the layout of the paper, 1-D that of the authors' later code. Two things differ from both: norms take each picture by
itself (``networks.gated_convolutions``), and the classifier sees all bins, not the lowest 8 coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from components.networks.gated_convolutions import GatedConvolution, Kind, Pair, Shape, check_at_least_1, with_label
from components.networks.published import ClassNames, Fitted, taken_whole

Layers = list[tuple[int, Pair, Pair]]  # channels, kernel, stride


def encoder_layers(shape: Shape, width: int) -> Layers:
    """Layers down to a quarter of the frames; of the 2-D network also to a single row."""
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
    """Layers of the discriminator, which shrink the frames alone."""
    if shape.kind == "1d":
        return [(width, (1, kernel), (1, stride)) for kernel, stride in ((9, 1), (8, 2), (8, 2), (5, 1))]
    return [(width, (3, kernel), (1, stride)) for kernel, stride in ((9, 1), (8, 2), (8, 2))]


class Generator(nn.Module):
    """Translate a picture into a voice. Each layer of the decoder is told the target."""

    def __init__(self, shape: Shape, num_domains: int, width: int):
        super().__init__()
        self.shape = shape
        layers = encoder_layers(shape, width)
        widths = [shape.channels, *(out for out, _, _ in layers)]
        self.encoder = nn.Sequential(
            *(
                GatedConvolution(before, out, kernel, stride)
                for before, (out, kernel, stride) in zip(widths[:-1], layers, strict=True)
            )
        )
        decoder = []
        for index in range(len(layers) - 1, 0, -1):
            _, kernel, stride = layers[index]
            transposed = stride != (1, 1)
            decoder.append(
                GatedConvolution(widths[index + 1], widths[index], kernel, stride, labels=num_domains, transposed=transposed)
            )
        self.decoder = nn.ModuleList(decoder)
        kernel = layers[0][1]
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.last = nn.Conv2d(layers[0][0] + num_domains, shape.channels, kernel, padding=padding)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1], the target's one-hot label [N, K] -> [N, C, H, W] in [-1, 1]."""
        h = self.encoder(self.shape.enter(image))
        for layer in self.decoder:
            h = layer(h, label)
        return torch.tanh(self.shape.leave(self.last(with_label(h, label))))


class Discriminator(nn.Module):
    """D(x, c): whether a picture is a real one of the voice c, at every fourth frame."""

    def __init__(self, shape: Shape, num_domains: int, width: int):
        super().__init__()
        self.shape = shape
        before, layers = shape.channels, []
        for out, kernel, stride in critic_layers(shape, width):
            layers.append(GatedConvolution(before, out, kernel, stride, labels=num_domains, normed=False))
            before = out
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(before + num_domains, 1, (shape.rows, 5), padding=(0, 2), bias=False)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """[N, C, H, W], label [N, K] -> scores (logits) [N, W / 4]."""
        h = self.shape.enter(image)
        for layer in self.layers:
            h = layer(h, label)
        scores: Tensor = self.last(with_label(h, label))
        return scores.flatten(1)


class Classifier(nn.Module):
    """Whose voice it is: the mean of the logits over all positions, as the paper's product of probabilities."""

    def __init__(self, shape: Shape, num_domains: int, width: int):
        super().__init__()
        self.shape = shape
        if shape.kind == "1d":
            layers = critic_layers(shape, width)
        else:
            narrow = [max(1, width // 4), max(1, width // 2), width]
            layers = [(out, (4, 4), (2, 2)) for out in narrow] + [(max(1, width // 2), (3, 4), (1, 2))]
        widths = [shape.channels, *(out for out, _, _ in layers)]
        self.layers = nn.Sequential(
            *(
                GatedConvolution(before, out, kernel, stride, normed=False)
                for before, (out, kernel, stride) in zip(widths[:-1], layers, strict=True)
            )
        )
        self.last = nn.Conv2d(widths[-1], num_domains, (1, 3), padding=(0, 1))

    def forward(self, image: Tensor) -> Tensor:
        """[N, C, H, W] -> logits [N, K]."""
        logits: Tensor = self.last(self.layers(self.shape.enter(image)))
        return logits.mean(dim=(2, 3))


class StarGANVC(nn.Module):
    """The three networks. ``num_domains``: K voices.

    ``convolution``: "1d", along time with the bins as channels, or "2d"; ``width``: channels of the generator's first layer,
    None: 64 for 1-D, 32 for 2-D, as published; ``discriminator_width``: of the discriminator's and the classifier's layers.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_domains: int,
        convolution: Kind = "1d",
        width: int | None = None,
        discriminator_width: int = 32,
    ):
        super().__init__()
        check_at_least_1(width=width, discriminator_width=discriminator_width)
        shape = Shape(convolution, image_size, channels)
        width = {"1d": 64, "2d": 32}[convolution] if width is None else width
        self.generator = Generator(shape, num_domains, width)
        self.discriminator = Discriminator(shape, num_domains, discriminator_width)
        self.classifier = Classifier(shape, num_domains, discriminator_width)

    def load_published(self, state: Mapping[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load another run's weights, of the same voices in the same order; ValueError for any others."""
        if names is not None and names.disagree():
            raise ValueError(f"the file's voices are {', '.join(names.file or ())}, this run's {', '.join(names.own)}")
        return taken_whole(self, dict(state))
