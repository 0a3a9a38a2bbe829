"""StarGAN-VC (Kameoka et al. 2018, arXiv 1806.02169, section 3 and figure 2): generator, discriminator, domain classifier.

2-D is the layout of the paper, 1-D that of the authors' later code. Two things differ from both: norms take each picture by
itself (``networks.gated_convolutions``), and the classifier sees all bins, not the lowest 8 coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from components.networks.gated_convolutions import (
    Decoder,
    DomainClassifier,
    Gated,
    Kind,
    Shape,
    check_at_least_1,
    critic_layers,
    encoder_layers,
    require_same_voices,
    with_label,
)
from components.networks.published import ClassNames, Fitted, taken_whole


class Generator(nn.Module):
    """Translate a picture into a voice. Each layer of the decoder is told the target."""

    def __init__(self, shape: Shape, num_domains: int, width: int):
        super().__init__()
        self.shape = shape
        self.encoder = Gated(shape.channels, encoder_layers(shape, width))
        self.decoder = Decoder(shape, self.encoder.outputs, width, labels=num_domains, outputs=shape.channels)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1], the target's one-hot label [N, K] -> [N, C, H, W] in [-1, 1]."""
        return torch.tanh(self.shape.leave(self.decoder(self.encoder(self.shape.enter(image)), label)))


class Discriminator(nn.Module):
    """D(x, c): whether a picture is a real one of the voice c, at every fourth frame."""

    def __init__(self, shape: Shape, num_domains: int, width: int):
        super().__init__()
        self.shape = shape
        self.layers = Gated(shape.channels, critic_layers(shape, width), labels=num_domains, normed=False)
        self.last = nn.Conv2d(self.layers.outputs + num_domains, 1, (shape.rows, 5), padding=(0, 2), bias=False)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """[N, C, H, W], label [N, K] -> scores (logits) [N, W / 4]."""
        scores: Tensor = self.last(with_label(self.layers(self.shape.enter(image), label), label))
        return scores.flatten(1)


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
        self.classifier = DomainClassifier(shape, num_domains, discriminator_width)

    def load_published(self, state: Mapping[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load another run's weights, of the same voices in the same order; ValueError for any others."""
        require_same_voices(names)
        return taken_whole(self, dict(state))
