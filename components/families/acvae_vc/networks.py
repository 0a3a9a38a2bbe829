"""ACVAE-VC (Kameoka et al. 2018, arXiv 1808.05092, section 3): encoder q(z | x, c), decoder p(x | z, c), classifier r(c | x).

Gated convolutions as StarGAN-VC's; norms take each picture by itself, where the paper has batch norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from components.networks.gated_convolutions import (
    Decoder,
    DomainClassifier,
    Gated,
    Kind,
    Shape,
    check_at_least_1,
    encoder_layers,
    require_same_voices,
    with_label,
)
from components.networks.published import ClassNames, Fitted, taken_whole


class ACVAE(nn.Module):
    """The three networks. ``num_domains``: K voices.

    ``convolution``: "1d", along time with the bins as channels, or "2d"; ``width``: channels of the first layer;
    ``latent_dim``: channels of z, one vector every fourth frame; ``classifier_width``: of the classifier's layers.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_domains: int,
        convolution: Kind = "1d",
        width: int = 64,
        latent_dim: int = 16,
        classifier_width: int = 32,
    ):
        super().__init__()
        check_at_least_1(width=width, latent_dim=latent_dim, classifier_width=classifier_width)
        self.shape = shape = Shape(convolution, image_size, channels)
        self.encoder = Gated(shape.channels, encoder_layers(shape, width), labels=num_domains)
        self.posterior = nn.Conv2d(self.encoder.outputs + num_domains, 2 * latent_dim, 1)
        self.decoder = Decoder(shape, latent_dim, width, labels=num_domains, outputs=2 * shape.channels)
        self.classifier = DomainClassifier(shape, num_domains, classifier_width)

    def encode(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] and its own label [N, K] -> mean and ln of the variance of z, [N, Z, h, W / 4] each."""
        moments = self.posterior(with_label(self.encoder(self.shape.enter(image), label), label))
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latent: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """z and a label -> mean and ln of the variance of the picture, [N, C, H, W] each; the variance is at most 1."""
        mean, spread = self.decoder(latent, label).chunk(2, dim=1)
        return self.shape.leave(mean), -F.softplus(self.shape.leave(spread))

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """Translate into the label's voice [N, K]: the decoder's mean of the encoder's mean.

        The paper tells the encoder whose voice it hears; here the classifier does, so that a request need not.
        """
        own = self.classifier(image).softmax(dim=1)
        return self.decode(self.encode(image, own)[0], label)[0]

    def load_published(self, state: Mapping[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load another run's weights, of the same voices in the same order; ValueError for any others."""
        require_same_voices(names)
        return taken_whole(self, {name.removeprefix("model."): tensor for name, tensor in state.items()})
