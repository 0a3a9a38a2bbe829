"""Train ACVAE-VC (Kameoka et al. 2018, arXiv 1808.05092): a VAE that is told the voice, and a classifier that makes it listen.

One update a step, of all networks on the sum of all terms, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial.losses import category_loss
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import Exportable, Published, Schedule
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.families.acvae_vc.networks import ACVAE
from components.translation.interface import EVALUATION_ROLES, Betas, check_batch, domains_of
from components.translation.voices import exportable_of, one_hot, shuffled, stream

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class TrainSettings(Strict):
    """ACVAE-VC's part of the ``train`` block. The weights are those of the authors' code; its means are over elements."""

    batch_size: int = Field(ge=2, description="a multiple of the voices")
    learning_rate: float = Field(default=5e-4, gt=0, description="Adam's")
    betas: Betas = Field(default=(0.9, 0.999), description="Adam's beta_1 and beta_2")
    schedule: Schedule = Field(default="constant", description="of the learning rate")
    clip_norm: float | None = Field(default=1.0, gt=0, description="of the whole gradient")
    divergence: float = Field(default=1.0, ge=0, description="of the encoder's distribution from N(0, I), mean over elements")
    classification: float = Field(default=1.0, ge=0, description="lambda_I: the classifier on real pictures")
    information: float = Field(default=1.0, ge=0, description="lambda_L: the classifier on pictures decoded in random voices")


class ACVAERecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",), "evaluate": EVALUATION_ROLES}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    class_column: ClassVar[str] = "domain"
    takes_rectangles: ClassVar[bool] = True
    prefers_fp32 = True  # a logarithm of variances
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]

    def __init__(self, settings: RunSettings, view: ViewFacts, network: ACVAE):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.num_domains = len(domains_of(view))
        self.model = network
        rate, betas = self.settings.learning_rate, self.settings.betas
        self.optimizers = {"networks": Adam(network.parameters(), lr=rate, betas=betas, fused=True)}
        self.averaged = {"model": network}
        self.published = {"init": network}

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Raise ValueError for settings that do not fit each other."""
        if settings.model.name != "acvae_vc":
            raise ValueError(f"model.name: {settings.model.name!r} is no ACVAE-VC; allowed: acvae_vc")
        if settings.train.compile:  # encode and decode are called, not forward: it would change nothing
            raise ValueError("train.compile: true is not allowed: nothing of an acvae_vc run is compiled")

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: Any, channels: int, classes: int) -> ACVAE:
        """The networks for ``classes`` voices."""
        return ACVAE(image_size=image_size, channels=channels, num_domains=classes, **settings.model.options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> ACVAERecipe:
        """The networks for the view's domains."""
        view = views["main"]
        domains = len(domains_of(view))
        check_batch(settings.train.batch_size, settings.train.processes, domains)
        return cls(settings, view, cls.build_network(settings, view.image_size, view.channels, domains))

    def streams(self) -> dict[str, Stream]:
        return {"train": stream(self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """-J + lambda_I I + lambda_L L (eq. 11): the bound of ln p(x | c); the classifier on real and on decoded pictures."""
        image, own = batches["train"]["image"], batches["train"]["domain"]
        label, target = self.label(own), shuffled(own, seed=self.seed, step=step)
        mean, log_variance = self.model.encode(image, label)
        noise = draw(tuple(mean.shape), seed=self.seed, step=step, use="latent", kind="normal", device=image.device)
        latent = mean + torch.exp(0.5 * log_variance) * noise
        settings = self.settings
        losses = {
            "reconstruction": gaussian_loss(image, *self.model.decode(latent, label)),
            "divergence": settings.divergence * divergence(mean, log_variance),
            "classification": settings.classification * category_loss(self.model.classifier(image), own),
        }
        decoded = self.model.decode(latent, self.label(target))[0]
        losses["information"] = settings.information * category_loss(self.model.classifier(decoded), target)
        optimize(losses, self.optimizers["networks"], clip_norm=settings.clip_norm)
        return losses

    def label(self, domain: Tensor) -> Tensor:
        """One-hot, float32 [N, K]."""
        return one_hot(domain, self.num_domains)

    def exportable(self) -> Exportable:
        """Encoder, decoder and the classifier that tells the encoder the voice."""
        return exportable_of(self.view, self.model)


def gaussian_loss(image: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-E ln N(x; mean, variance), mean over elements, without its constant."""
    return 0.5 * (log_variance + (image - mean).square() * torch.exp(-log_variance)).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)), mean over elements (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance).mean()
