"""Train UNIT: translation between two domains through one latent space (Liu et al. 2017, arXiv 1703.00848).

As published with MUNIT: the networks share no weights, the cycle aligns their latents, and the discriminators are MUNIT's. A
step is the paper's: update the discriminators on translations, then the auto-encoders. What both need is computed once, with
its graph, from one draw of the latents; ``share_forward: false`` computes it twice, the first time without a graph, which
saves memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from components.core.config.strict import Strict
from components.core.recipe import Exportable
from components.core.step import draw
from components.families.unit.networks import UNIT
from components.networks.translator_blocks import wide
from components.translation.pairs import (
    DOMAINS,
    PairRecipe,
    PairSettings,
    adversarial_loss,
    distance,
    other,
)


class Weights(Strict):
    """Weights of the auto-encoders' losses, as published with MUNIT; the adversarial loss has 1."""

    image: float = Field(default=10.0, ge=0, description="reconstruction of images from their latents")
    prior: float = Field(default=0.01, ge=0, description="KL divergence of the latents to N(0, I): their squared means")
    cycle: float = Field(default=10.0, ge=0, description="reconstruction of images from their translations' latents")
    cycle_prior: float = Field(default=0.01, ge=0, description="KL divergence of the translations' latents")


class TrainSettings(PairSettings):
    """UNIT's part of the ``train`` block."""

    weights: Weights = Weights()


@dataclass(frozen=True)
class Forward:
    """Lists by domain: means of the latents, reconstructions, and translations of the other domain's images into it."""

    mean: list[Tensor]
    reconstructed: list[Tensor]
    fake: list[Tensor]


class UNITRecipe(PairRecipe):
    """The recipe: ``PairRecipe`` with UNIT's auto-encoders, latents and losses."""

    Train: ClassVar[type[Strict]] = TrainSettings
    network = UNIT

    def draw_noise(self, images: list[Tensor], step: int) -> int:
        """The step, by which latents are drawn where they are needed."""
        return step

    def latent(self, mean: Tensor, step: int, use: str) -> Tensor:
        """z ~ q(z | x) = N(mean, I) (section 3)."""
        return mean + draw(tuple(mean.shape), seed=self.seed, step=step, use=use, device=mean.device).to(mean.dtype)

    @torch.no_grad()
    def translations(self, images: list[Tensor], noise: int) -> list[Tensor]:
        """Only ``fake`` of ``forward_pass``, without a graph."""
        networks: Any = self.autoencoders
        latent = [self.latent(networks[k].encode(images[k]), noise, f"latent_{k}") for k in DOMAINS]
        return [networks[k].decode(latent[other(k)]) for k in DOMAINS]

    def forward_pass(self, images: list[Tensor], noise: int) -> Forward:
        """Encode, reconstruct and translate images by domain. Each decoder processes both in one batch."""
        networks: Any = self.autoencoders
        mean = [networks[k].encode(images[k]) for k in DOMAINS]
        latent = [self.latent(mean[k], noise, f"latent_{k}") for k in DOMAINS]
        decoded = [networks[k].decode(torch.cat([latent[k], latent[other(k)]])).chunk(2) for k in DOMAINS]
        return Forward(mean, [reconstructed for reconstructed, _ in decoded], [fake for _, fake in decoded])

    def terms(self, images: list[Tensor], noise: int, forward: Forward) -> dict[str, Tensor]:
        """The auto-encoders' losses (section 3) without their weights, each summed over both domains."""
        networks: Any = self.autoencoders
        terms = {
            "adversarial": adversarial_loss(self.discriminators, forward.fake),
            "image": distance(forward.reconstructed, images),
            "prior": to_prior(forward.mean),
        }
        if self.settings.weights.cycle or self.settings.weights.cycle_prior:
            mean = [networks[k].encode(forward.fake[k]) for k in DOMAINS]  # of images of the other domain
            terms["cycle_prior"] = to_prior(mean)
        if self.settings.weights.cycle:
            latent = [self.latent(mean[k], noise, f"cycle_{k}") for k in DOMAINS]
            terms["cycle"] = distance([networks[k].decode(latent[other(k)]) for k in DOMAINS], images)
        return terms

    def exportable(self) -> Exportable:
        """Graphs that decode the latent's mean, without noise."""
        networks: Any = self.autoencoders
        return self.export_graphs([net.enc for net in networks], [net.dec for net in networks], ("latent",))


def to_prior(means: list[Tensor]) -> Tensor:
    """2 KL(N(mean, I) || N(0, I)), mean over elements as the published weight assumes, summed over domains."""
    return torch.stack([wide(mean).square().mean() for mean in means]).sum()
