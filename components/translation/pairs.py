"""What the recipes MUNIT and UNIT have in common: two domains, each with an auto-encoder and a discriminator.

``PairRecipe`` builds, trains and exports the networks; a family adds its forward pass and its losses. A list by domain holds
domain 0's and domain 1's; ``other`` of 0 is 1. Starting weights: ``pair_weights``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial.losses import frozen, least_squares_discriminator, least_squares_generator
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import Exportable, Graph, Published, Schedule
from components.core.settings import RunSettings
from components.core.step import optimize
from components.networks.translator_blocks import MUNITDiscriminator, wide
from components.translation.interface import EVALUATION_ROLES, Betas, check_batch, domains_of, example, signature
from components.translation.pair_weights import Side

if TYPE_CHECKING:
    from components.core.artifact import Artifact

DOMAINS = (0, 1)
LARGE = 128  # pixels: from this size on, memory matters more than a fifth of the time
ROLES = {"init": "autoencoders", "init_discriminator": "discriminators"}  # role of a link -> the networks it initialises


class DiscriminatorSettings(Strict):
    """Of both domains' discriminators; null follows the view's size."""

    width: int = Field(default=64, ge=1, description="channels of the first layer")
    layers: int | None = Field(default=None, ge=1, description="that halve the sides")
    scales: int | None = Field(default=None, ge=1, description="of the image, each with a network of its own")

    def network(self, image_size: int, channels: int) -> MUNITDiscriminator:
        """ValueError if it does not fit the size."""
        try:
            return MUNITDiscriminator(image_size=image_size, channels=channels, **self.model_dump())
        except ValueError as error:
            raise ValueError(f"train.discriminator: {error}") from None


class PairSettings(Strict):
    """Settings of both recipes' ``train`` blocks; defaults as published with MUNIT (arXiv 1804.04732, section 5.1)."""

    renamed: ClassVar[dict[str, str]] = {"momentum": "betas"}

    batch_size: int = Field(ge=2, description="images of both domains together; published: 2")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's, of both sides, at the top of the schedule")
    betas: Betas = Field(default=(0.5, 0.999), description="Adam's beta_1 and beta_2")
    weight_decay: float = Field(default=1e-4, ge=0, description="Adam's, added to the gradient")
    schedule: Schedule = Field(default="step", description="of the learning rate")
    schedule_steps: int | None = Field(default=100_000, ge=1, description="updates until the learning rate is halved")
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    share_forward: bool | None = Field(
        default=None, description="one forward pass for both halves of a step: faster, more memory; null: below 128 pixels"
    )

    def shares(self, image_size: int) -> bool:
        """Whether images of this size pass through the auto-encoders once per step."""
        return image_size < LARGE if self.share_forward is None else self.share_forward


class PairRecipe(nn.Module):
    """Two auto-encoders of class ``network`` and two discriminators, with one Adam per side."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": tuple(ROLES), "evaluate": EVALUATION_ROLES}
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    class_column: ClassVar[str] = "domain"
    prefers_fp32 = True  # the balance of the two sides is unproven in bf16
    network: ClassVar[type[nn.Module]]
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]

    def __init__(self, settings: RunSettings, view: ViewFacts):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.shared = self.settings.shares(view.image_size)
        facts = {"image_size": view.image_size, "channels": view.channels}
        self.autoencoders = nn.ModuleList(self.network(**facts, **settings.model.options) for _ in DOMAINS)
        self.discriminators = nn.ModuleList(self.settings.discriminator.network(**facts) for _ in DOMAINS)
        self.optimizers = {name: adam(side, self.settings) for name, side in self.named_children()}
        self.averaged = {"autoencoders": self.autoencoders}
        self.published = {role: Side(self, side) for role, side in ROLES.items()}

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Raise ValueError for settings that do not fit each other or the view."""
        if settings.model.name != settings.recipe:
            raise ValueError(
                f"model.name: {settings.model.name!r} is not allowed: a {settings.recipe} run has {settings.recipe}"
            )
        if settings.train.compile:  # encode and decode are called, not forward: it would change nothing
            raise ValueError(f"train.compile: true is not allowed: nothing of a {settings.recipe} run is compiled")
        check_batch(settings.train.batch_size, settings.train.processes, len(DOMAINS))
        with torch.device("meta"):
            settings.train.discriminator.network(view.image_size, view.channels)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> nn.Module:
        """One domain's auto-encoder."""
        return cls.network(image_size=image_size, channels=channels, **settings.model.options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> Self:
        """The networks of the view's two domains."""
        check_batch(settings.train.batch_size, settings.train.processes, len(two_domains(views["main"])))
        return cls(settings, views["main"])

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size, sampler="balanced", by="domain")}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """Update the discriminators on translations, then the auto-encoders on all terms: the paper's order.

        The auto-encoders' weights do not change in between: with ``shared`` both halves use one forward pass.
        """
        images = by_domain(batches["train"])
        noise = self.draw_noise(images, step)
        forward = self.forward_pass(images, noise) if self.shared else None
        fakes = self.translations(images, noise) if forward is None else [fake.detach() for fake in forward.fake]
        discriminator = discriminators_loss(self.discriminators, images, fakes)
        optimize({"discriminator": discriminator}, self.optimizers["discriminators"])
        with frozen(self.discriminators):
            terms = self.terms(images, noise, forward or self.forward_pass(images, noise))
            weights = {"adversarial": 1.0} | self.settings.weights.model_dump()
            losses = {name: weights[name] * term for name, term in terms.items() if weights[name]}
            optimize(losses, self.optimizers["autoencoders"])
        return {"discriminator": discriminator, **terms}

    def draw_noise(self, images: list[Tensor], step: int) -> Any:
        """Draw what both halves of a step share: MUNIT's styles; UNIT draws its latents by the step."""
        raise NotImplementedError

    def translations(self, images: list[Tensor], noise: Any) -> list[Tensor]:
        """Translate by domain, without a graph: ``fake`` of ``forward_pass``."""
        raise NotImplementedError

    def forward_pass(self, images: list[Tensor], noise: Any) -> Any:
        """Encode, reconstruct and translate by domain; ``fake`` of the result has the translations."""
        raise NotImplementedError

    def terms(self, images: list[Tensor], noise: Any, forward: Any) -> dict[str, Tensor]:
        """Compute the auto-encoders' losses without their weights."""
        raise NotImplementedError

    def export_graphs(
        self, encoders: Sequence[nn.Module], decoders: Sequence[nn.Module], codes: tuple[str, ...], style_width: int = 0
    ) -> Exportable:
        """``encode_<k>``: image -> ``codes``, and ``decode_<k>``: codes -> image, for each domain k."""
        graphs = {f"encode_{k}": Graph(encoder, image_of, codes, bound=1e-3) for k, encoder in enumerate(encoders)}
        for k, (encoder, decoder) in enumerate(zip(encoders, decoders, strict=True)):
            graphs[f"decode_{k}"] = Graph(decoder, partial(encoded, encoder, codes), ("image",))
        return Exportable(
            graphs=graphs,
            facts={
                "image_size": self.view.image_size,
                "channels": self.view.channels,
                "domains": list(self.view.classes["domain"]),
                "style_width": style_width,
            },
            signature=signature(self.view, style_width),
            example=lambda batch: example(batch, style_width, len(DOMAINS)),
        )


def image_of(batch: Batch) -> dict[str, Tensor]:
    return {"image": batch["image"]}


@torch.no_grad()
def encoded(encoder: nn.Module, codes: tuple[str, ...], batch: Batch) -> dict[str, Tensor]:
    """The codes of a batch, by name."""
    outputs = encoder(batch["image"])
    return dict(zip(codes, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))


def adam(networks: nn.Module, settings: PairSettings) -> Adam:
    """The optimizer of one side."""
    rate, decay = settings.learning_rate, settings.weight_decay
    return Adam(networks.parameters(), lr=rate, betas=settings.betas, weight_decay=decay, fused=True)


def other(domain: int) -> int:
    return 1 - domain


def two_domains(view: ViewFacts) -> tuple[str, ...]:
    """Names of the view's two domains; ValueError lists them if there are more."""
    names = domains_of(view)
    if len(names) > len(DOMAINS):
        fault = f"view {view.name!r} has {len(names)} domains, {', '.join(names)}: this recipe translates between two"
        raise ValueError(f"{fault}; take a view of two, or the recipe stargan_v2")
    return names


def by_domain(batch: Batch) -> list[Tensor]:
    """The images [2 n, C, H, W] of a balanced batch -> [n, C, H, W] per domain, in the batch's order."""
    return list(batch["image"][torch.argsort(batch["domain"], stable=True)].chunk(len(DOMAINS)))


def discriminators_loss(discriminators: nn.ModuleList, images: Sequence[Tensor], fakes: Sequence[Tensor]) -> Tensor:
    """LSGAN for the discriminators, summed over scales and domains; real and translated images pass in one batch."""
    losses = []
    for discriminator, image, fake in zip(discriminators, images, fakes, strict=True):
        losses += [least_squares_discriminator(*scores.chunk(2)) for scores in discriminator(torch.cat([image, fake]))]
    return torch.stack(losses).sum()


def adversarial_loss(discriminators: nn.ModuleList, fakes: Sequence[Tensor]) -> Tensor:
    """L_GAN for the auto-encoders (MUNIT, arXiv 1804.04732, eq. 4, as least squares), summed over scales and domains."""
    judged = zip(discriminators, fakes, strict=True)
    return torch.stack([least_squares_generator(s) for discriminator, fake in judged for s in discriminator(fake)]).sum()


def distance(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """E |prediction - target|_1, mean over elements, summed over domains."""
    return torch.stack([(wide(a) - wide(b)).abs().mean() for a, b in zip(predictions, targets, strict=True)]).sum()
