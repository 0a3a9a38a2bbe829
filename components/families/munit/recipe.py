"""MUNIT: images translated between two domains in many styles (Huang et al. 2018, arXiv 1804.04732); Adam on both sides.

A step is the paper's: the discriminators on translations in random styles, then the auto-encoders. The auto-encoders' weights
do not change in between, so that with the same random styles both need the same codes and translations: they are computed
once, with their graph, and the discriminators get them detached. ``share_forward: false`` computes them twice, the first time
without a graph, for less memory in the discriminators' half; from 128 pixels on this is what happens unless told otherwise.
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
from components.families.munit.networks import MUNIT, Decoding, Encoding
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
    """Of the auto-encoders' terms beside L_GAN, which has 1 (eq. 5)."""

    image: float = Field(default=10.0, ge=0, description="lambda_x: the image from its own codes (eq. 1)")
    content: float = Field(default=1.0, ge=0, description="lambda_c: the content found in a translation (eq. 2)")
    style: float = Field(default=1.0, ge=0, description="lambda_s: the style found in a translation (eq. 3)")
    cycle: float = Field(default=0.0, ge=0, description="style-augmented cycle consistency; 10 where domains are far apart")


class TrainSettings(PairSettings):
    """The recipe's part of the ``train`` block."""

    weights: Weights = Weights()


@dataclass(frozen=True)
class Forward:
    """Lists by domain: the images' content and style, the images from these, and what was made of the other's content."""

    content: list[Tensor]
    style: list[Tensor]
    rebuilt: list[Tensor]
    fake: list[Tensor]


class MUNITRecipe(nn.Module):
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
        networks = [MUNIT(**facts, **settings.model.options) for _ in DOMAINS]
        self.autoencoders, self.style_width = nn.ModuleList(networks), networks[0].style_width
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
        return MUNIT(image_size=image_size, channels=channels, **settings.model.options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> MUNITRecipe:
        """Two auto-encoders and two discriminators, from published or own weights where links lead to some."""
        check_batch(settings.train.batch_size, settings.train.processes, len(two_domains(views["main"])))
        recipe = cls(settings, views["main"])
        start_from(recipe, links)
        return recipe

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size, sampler="balanced", by="domain")}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        images = by_domain(batches["train"])
        styles = [self.random_style(images[k], step, k) for k in DOMAINS]
        forward = self.forward_pass(images, styles) if self.shared else None
        fakes = self.translations(images, styles) if forward is None else [fake.detach() for fake in forward.fake]
        discriminator = discriminators_loss(self.discriminators, images, fakes)
        optimize({"discriminator": discriminator}, self.optimizers["discriminators"])
        with frozen(self.discriminators):
            terms = self.terms(images, styles, forward or self.forward_pass(images, styles))
            weights = {"adversarial": 1.0} | self.settings.weights.model_dump()
            losses = {name: weights[name] * term for name, term in terms.items() if weights[name]}
            optimize(losses, self.optimizers["autoencoders"])
        return {"discriminator": discriminator, **terms}

    def random_style(self, image: Tensor, step: int, domain: int) -> Tensor:
        """s ~ N(0, I), [n, S], for what is translated into ``domain``."""
        shape = (image.shape[0], self.style_width)
        return draw(shape, seed=self.seed, step=step, use=f"style_{domain}", device=image.device).to(image.dtype)

    @torch.no_grad()
    def translations(self, images: list[Tensor], styles: list[Tensor]) -> list[Tensor]:
        """``forward_pass``'s ``fake`` alone, without a graph."""
        networks: Any = self.autoencoders
        content = [networks[k].enc_content(images[k]) for k in DOMAINS]
        return [networks[k].decode(content[other(k)], styles[k]) for k in DOMAINS]

    def forward_pass(self, images: list[Tensor], styles: list[Tensor]) -> Forward:
        """Encode, rebuild, translate: images and random styles by domain. A decoder's two tasks go through in one batch."""
        networks: Any = self.autoencoders
        content, style = map(list, zip(*(networks[k].encode(images[k]) for k in DOMAINS), strict=True))
        decoded = [
            networks[k].decode(torch.cat([content[k], content[other(k)]]), torch.cat([style[k], styles[k]])).chunk(2)
            for k in DOMAINS
        ]
        return Forward(content, style, [rebuilt for rebuilt, _ in decoded], [fake for _, fake in decoded])

    def terms(self, images: list[Tensor], styles: list[Tensor], forward: Forward) -> dict[str, Tensor]:
        """The auto-encoders' losses (eq. 1 to 4), each summed over both domains, without their weights."""
        networks: Any = self.autoencoders
        content, style = map(list, zip(*(networks[k].encode(forward.fake[k]) for k in DOMAINS), strict=True))
        terms = {
            "adversarial": adversarial_loss(self.discriminators, forward.fake),
            "image": distance(forward.rebuilt, images),
            "content": distance(content, [forward.content[other(k)] for k in DOMAINS]),
            "style": distance(style, styles),
        }
        if self.settings.weights.cycle:
            back = [networks[k].decode(content[other(k)], forward.style[k]) for k in DOMAINS]
            terms["cycle"] = distance(back, images)
        return terms

    def exportable(self) -> Exportable:
        graphs = {f"encode_{k}": self.encoding(k) for k in DOMAINS} | {f"decode_{k}": self.decoding(k) for k in DOMAINS}
        return Exportable(
            graphs=graphs,
            facts={
                "image_size": self.view.image_size,
                "channels": self.view.channels,
                "domains": list(self.view.classes["domain"]),
                "style_width": self.style_width,
            },
            signature=signature(self.view, self.style_width),
            example=lambda batch: example(batch, self.style_width, len(DOMAINS)),
        )

    def encoding(self, domain: int) -> Graph:
        network: Any = self.autoencoders[domain]
        return Graph(Encoding(network), lambda batch: {"image": batch["image"]}, ("content", "style"), bound=1e-3)

    def decoding(self, domain: int) -> Graph:
        network: Any = self.autoencoders[domain]

        @torch.no_grad()
        def codes(batch: Batch) -> dict[str, Tensor]:
            return dict(zip(("content", "style"), network.encode(batch["image"]), strict=True))

        return Graph(Decoding(network), codes, ("image",))

    @staticmethod
    def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
        """What linked judges say of translations, and how far MUNIT's propositions hold."""
        from components.translation.report import report

        return report(served, splits["main"], settings.evaluate, links)
