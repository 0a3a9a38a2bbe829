"""Train MUNIT: translation between two domains in many styles (Huang et al. 2018, arXiv 1804.04732).

A step is the paper's: update the discriminators on translations in random styles, then the auto-encoders. The auto-encoders'
weights do not change in between, so both updates need the same codes and translations: they are computed once, with their
graph, and the discriminators get them detached. ``share_forward: false`` computes them twice, the first time without a graph,
which saves memory in the first half; it is the default from 128 pixels on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from components.core.batch import ViewFacts
from components.core.config.strict import Strict
from components.core.recipe import Exportable
from components.core.settings import RunSettings
from components.core.step import draw
from components.families.munit.networks import MUNIT, Decoding, Encoding
from components.translation.pairs import (
    DOMAINS,
    PairRecipe,
    PairSettings,
    adversarial_loss,
    distance,
    other,
)


class Weights(Strict):
    """Weights of the auto-encoders' losses (eq. 5); L_GAN has 1."""

    image: float = Field(default=10.0, ge=0, description="lambda_x: reconstruction of images (eq. 1)")
    content: float = Field(default=1.0, ge=0, description="lambda_c: reconstruction of a translation's content (eq. 2)")
    style: float = Field(default=1.0, ge=0, description="lambda_s: reconstruction of a translation's style (eq. 3)")
    cycle: float = Field(default=0.0, ge=0, description="style-augmented cycle consistency; 10 for domains that are far apart")


class TrainSettings(PairSettings):
    """MUNIT's part of the ``train`` block."""

    weights: Weights = Weights()


@dataclass(frozen=True)
class Forward:
    """Lists by domain: codes of the images, their reconstructions, and translations of the other domain's images into it."""

    content: list[Tensor]
    style: list[Tensor]
    reconstructed: list[Tensor]
    fake: list[Tensor]


class MUNITRecipe(PairRecipe):
    """The recipe: ``PairRecipe`` with MUNIT's auto-encoders, styles and losses."""

    Train: ClassVar[type[Strict]] = TrainSettings
    network = MUNIT

    def __init__(self, settings: RunSettings, view: ViewFacts):
        super().__init__(settings, view)
        networks: Any = self.autoencoders
        self.style_width: int = networks[0].style_width

    def draw_noise(self, images: list[Tensor], step: int) -> list[Tensor]:
        """Random styles by domain."""
        return [self.random_style(images[k], step, k) for k in DOMAINS]

    def random_style(self, image: Tensor, step: int, domain: int) -> Tensor:
        """s ~ N(0, I), [n, S], for translations into ``domain``."""
        shape = (image.shape[0], self.style_width)
        return draw(shape, seed=self.seed, step=step, use=f"style_{domain}", device=image.device).to(image.dtype)

    @torch.no_grad()
    def translations(self, images: list[Tensor], noise: list[Tensor]) -> list[Tensor]:
        """Only ``fake`` of ``forward_pass``, without a graph."""
        networks: Any = self.autoencoders
        content = [networks[k].enc_content(images[k]) for k in DOMAINS]
        return [networks[k].decode(content[other(k)], noise[k]) for k in DOMAINS]

    def forward_pass(self, images: list[Tensor], noise: list[Tensor]) -> Forward:
        """Encode, reconstruct and translate images, with random styles by domain. Each decoder processes both in one batch."""
        networks: Any = self.autoencoders
        content, style = map(list, zip(*(networks[k].encode(images[k]) for k in DOMAINS), strict=True))
        decoded = [
            networks[k].decode(torch.cat([content[k], content[other(k)]]), torch.cat([style[k], noise[k]])).chunk(2)
            for k in DOMAINS
        ]
        return Forward(content, style, [reconstructed for reconstructed, _ in decoded], [fake for _, fake in decoded])

    def terms(self, images: list[Tensor], noise: list[Tensor], forward: Forward) -> dict[str, Tensor]:
        """The auto-encoders' losses (eq. 1 to 4) without their weights, each summed over both domains."""
        networks: Any = self.autoencoders
        content, style = map(list, zip(*(networks[k].encode(forward.fake[k]) for k in DOMAINS), strict=True))
        terms = {
            "adversarial": adversarial_loss(self.discriminators, forward.fake),
            "image": distance(forward.reconstructed, images),
            "content": distance(content, [forward.content[other(k)] for k in DOMAINS]),
            "style": distance(style, noise),
        }
        if self.settings.weights.cycle:
            back = [networks[k].decode(content[other(k)], forward.style[k]) for k in DOMAINS]
            terms["cycle"] = distance(back, images)
        return terms

    def exportable(self) -> Exportable:
        networks: Any = self.autoencoders
        encoders, decoders = [Encoding(net) for net in networks], [Decoding(net) for net in networks]
        return self.export_graphs(encoders, decoders, ("content", "style"), self.style_width)
