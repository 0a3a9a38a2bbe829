"""UNIT: images translated between two domains by one latent space (Liu et al. 2017, arXiv 1703.00848); Adam on both sides.

As MUNIT's authors publish it: networks that share no weights, held together by the cycle, and MUNIT's discriminators. A step is
the paper's: the discriminators on translations, then the auto-encoders. What both need is computed once, with its graph, from
one draw of the latents; ``share_forward: false`` computes it twice, the first time without a graph (see recipes/munit.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from components.adversarial.frozen import frozen
from components.core.batch import Batch, Split, Stream, ViewFacts
from components.core.recipe import Exportable, Graph, Report
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.core.strict import Strict
from components.families.unit.networks import UNIT
from components.networks.translator_blocks import wide
from components.translation.border import check_batch, example, signature
from components.translation.pairs import (
    ROLES,
    PairSettings,
    adam,
    adversarial_loss,
    by_domain,
    check_pair,
    discriminators_loss,
    distance,
    other,
    start_from,
    two_domains,
)
from components.translation.settings import EvaluateSettings, NoSettings

if TYPE_CHECKING:
    from components.core.artifact import Artifact

DOMAINS = (0, 1)


class Weights(Strict):
    """Of the auto-encoders' terms beside the adversarial one, which has 1; defaults as published."""

    image: float = Field(default=10.0, ge=0, description="the image from its own latent")
    prior: float = Field(default=0.01, ge=0, description="the latents' squared means: their distance to N(0, I)")
    cycle: float = Field(default=10.0, ge=0, description="the image from the latent of its translation")
    cycle_prior: float = Field(default=0.01, ge=0, description="the squared means of the translations' latents")


class TrainSettings(PairSettings):
    """The recipe's part of the ``train`` block."""

    weights: Weights = Weights()


@dataclass(frozen=True)
class Forward:
    """Lists by domain: the latents' means, the images from their latents, and what was made of the other's latents."""

    mean: list[Tensor]
    rebuilt: list[Tensor]
    fake: list[Tensor]


class UNITRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(ROLES),
        "evaluate": ("domains", "content", "modes", "alexnet", "lpips"),
    }
    Train, Export, Evaluate = TrainSettings, NoSettings, EvaluateSettings
    detects = False
    prefers_fp32 = True  # the balance of the two sides is unproven in it
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]

    def __init__(self, settings: RunSettings, view: ViewFacts):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.shared = self.settings.shares(view.image_size)
        facts = {"image_size": view.image_size, "channels": view.channels}
        self.autoencoders = nn.ModuleList(UNIT(**facts, **settings.model.options) for _ in DOMAINS)
        self.discriminators = nn.ModuleList(self.settings.discriminator.network(**facts) for _ in DOMAINS)
        self.optimizers = {name: adam(side, self.settings) for name, side in self.named_children()}
        self.averaged = {"autoencoders": self.autoencoders}

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError for settings that do not fit each other or the view."""
        check_pair(settings, view)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> nn.Module:
        """One domain's auto-encoder."""
        return UNIT(image_size=image_size, channels=channels, **settings.model.options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> UNITRecipe:
        """Two auto-encoders and two discriminators, from published or own weights where links lead to some."""
        check_batch(settings.train.batch_size, settings.train.processes, len(two_domains(views["main"])))
        recipe = cls(settings, views["main"])
        start_from(recipe, links)
        return recipe

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size, sampler="balanced", by="domain")}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        images = by_domain(batches["train"])
        forward = self.forward_pass(images, step) if self.shared else None
        fakes = self.translations(images, step) if forward is None else [fake.detach() for fake in forward.fake]
        discriminator = discriminators_loss(self.discriminators, images, fakes)
        optimize({"discriminator": discriminator}, self.optimizers["discriminators"])
        with frozen(self.discriminators):
            terms = self.terms(images, forward or self.forward_pass(images, step), step)
            weights = {"adversarial": 1.0} | self.settings.weights.model_dump()
            losses = {name: weights[name] * term for name, term in terms.items() if weights[name]}
            optimize(losses, self.optimizers["autoencoders"])
        return {"discriminator": discriminator, **terms}

    def latent(self, mean: Tensor, step: int, use: str) -> Tensor:
        """z ~ q(z | x) = N(mean, I) (section 3)."""
        return mean + draw(tuple(mean.shape), seed=self.seed, step=step, use=use, device=mean.device).to(mean.dtype)

    @torch.no_grad()
    def translations(self, images: list[Tensor], step: int) -> list[Tensor]:
        """``forward_pass``'s ``fake`` alone, without a graph."""
        networks: Any = self.autoencoders
        latent = [self.latent(networks[k].encode(images[k]), step, f"latent_{k}") for k in DOMAINS]
        return [networks[k].decode(latent[other(k)]) for k in DOMAINS]

    def forward_pass(self, images: list[Tensor], step: int) -> Forward:
        """Encode, rebuild, translate: images by domain. A decoder's two tasks go through in one batch."""
        networks: Any = self.autoencoders
        mean = [networks[k].encode(images[k]) for k in DOMAINS]
        latent = [self.latent(mean[k], step, f"latent_{k}") for k in DOMAINS]
        decoded = [networks[k].decode(torch.cat([latent[k], latent[other(k)]])).chunk(2) for k in DOMAINS]
        return Forward(mean, [rebuilt for rebuilt, _ in decoded], [fake for _, fake in decoded])

    def terms(self, images: list[Tensor], forward: Forward, step: int) -> dict[str, Tensor]:
        """The auto-encoders' losses (section 3), each summed over both domains, without their weights."""
        networks: Any = self.autoencoders
        terms = {
            "adversarial": adversarial_loss(self.discriminators, forward.fake),
            "image": distance(forward.rebuilt, images),
            "prior": to_prior(forward.mean),
        }
        if self.settings.weights.cycle or self.settings.weights.cycle_prior:
            mean = [networks[k].encode(forward.fake[k]) for k in DOMAINS]  # of images of the other domain
            terms["cycle_prior"] = to_prior(mean)
        if self.settings.weights.cycle:
            latent = [self.latent(mean[k], step, f"cycle_{k}") for k in DOMAINS]
            terms["cycle"] = distance([networks[k].decode(latent[other(k)]) for k in DOMAINS], images)
        return terms

    def exportable(self) -> Exportable:
        graphs = {f"encode_{k}": self.encoding(k) for k in DOMAINS} | {f"decode_{k}": self.decoding(k) for k in DOMAINS}
        return Exportable(
            graphs=graphs,
            facts={
                "image_size": self.view.image_size,
                "channels": self.view.channels,
                "domains": list(self.view.classes["domain"]),
                "style_width": 0,
            },
            signature=signature(self.view, 0),
            example=lambda batch: example(batch, 0, len(DOMAINS)),
        )

    def encoding(self, domain: int) -> Graph:
        network: Any = self.autoencoders[domain]
        return Graph(network.enc, lambda batch: {"image": batch["image"]}, ("content",), bound=1e-3)

    def decoding(self, domain: int) -> Graph:
        """The latent's mean is decoded, without noise."""
        network: Any = self.autoencoders[domain]

        @torch.no_grad()
        def codes(batch: Batch) -> dict[str, Tensor]:
            return {"latent": network.encode(batch["image"])}

        return Graph(network.dec, codes, ("image",))

    @staticmethod
    def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
        """What linked judges say of translations, and how near the two domains' latents are."""
        from components.translation.report import report

        return report(served, splits["main"], settings.evaluate, links)


def to_prior(means: list[Tensor]) -> Tensor:
    """KL(N(mean, I) || N(0, I)), twice and the mean over the numbers, as its published weight means it; summed over domains."""
    return torch.stack([wide(mean).square().mean() for mean in means]).sum()
