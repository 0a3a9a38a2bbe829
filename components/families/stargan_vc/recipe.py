"""Train StarGAN-VC (Kameoka et al. 2018, arXiv 1806.02169, section 3): one generator for all voices, no parallel sentences.

A step updates the discriminator, the classifier of voices and, at every ``critic_steps``-th step, the generator. Targets are
the batch's own voices in random order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial import losses as adversarial
from components.adversarial.losses import category_loss, cycle_consistency, frozen, gradient_penalty, interpolate
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import Exportable, Published
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.families.stargan_vc.networks import StarGANVC
from components.families.stargan_vc.settings import TrainSettings, check_run
from components.translation.interface import EVALUATION_ROLES, check_batch, domains_of
from components.translation.voices import exportable_of, one_hot, shuffled, stream

if TYPE_CHECKING:
    from components.core.artifact import Artifact

DISCRIMINATOR = {"wasserstein": adversarial.wasserstein_critic, "logistic": adversarial.logistic_discriminator}
GENERATOR = {"wasserstein": adversarial.wasserstein_generator, "logistic": adversarial.logistic_generator}


class StarGANVCRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",), "evaluate": EVALUATION_ROLES}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    class_column: ClassVar[str] = "domain"
    takes_rectangles: ClassVar[bool] = True
    prefers_fp32 = True  # unproven: the critic's Lipschitz constant is held by a gradient's norm
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]

    def __init__(self, settings: RunSettings, view: ViewFacts, networks: StarGANVC):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.num_domains = len(domains_of(view))
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.classifier = networks.classifier
        self.optimizers = {name: make_adam(name, network, self.settings) for name, network in self.named_children()}
        self.averaged = {"generator": self.generator}
        self.published = {"init": networks}

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Raise ValueError for settings that do not fit each other."""
        check_run(settings, view)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: Any, channels: int, classes: int) -> StarGANVC:
        """The networks for ``classes`` voices."""
        return StarGANVC(image_size=image_size, channels=channels, num_domains=classes, **settings.model.options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> StarGANVCRecipe:
        """The networks for the view's domains."""
        view = views["main"]
        domains = len(domains_of(view))
        check_batch(settings.train.batch_size, settings.train.processes, domains)
        return cls(settings, view, cls.build_network(settings, view.image_size, view.channels, domains))

    def streams(self) -> dict[str, Stream]:
        return {"train": stream(self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """I_D, I_C and I_G (eq. 9 to 11), each with its optimizer. The generator does not change between its uses."""
        image, own = batches["train"]["image"], batches["train"]["domain"]
        target = shuffled(own, seed=self.seed, step=step)
        generating = (step + 1) % self.settings.critic_steps == 0
        with torch.set_grad_enabled(generating):
            fake = self.generator(image, self.label(target))
        clip = self.settings.clip_norm
        critic = self.discriminator_losses(image, own, fake.detach(), target, step)
        optimize(critic, self.optimizers["discriminator"], clip_norm=clip)
        classifier = {"classification": category_loss(self.classifier(image), own)}
        optimize(classifier, self.optimizers["classifier"], clip_norm=clip)
        losses = critic | classifier
        if generating:
            more = self.generator_losses(image, own, fake, target)
            optimize(more, self.optimizers["generator"], clip_norm=clip)
            losses |= more
        return losses

    def discriminator_losses(self, image: Tensor, own: Tensor, fake: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        """L_adv^D (eq. 1): real pictures with their voice against translations with theirs; a penalty if it has a weight."""
        labels = torch.cat([self.label(own), self.label(target)])
        real_score, fake_score = self.discriminator(torch.cat([image, fake]), labels).chunk(2)
        losses = {"discriminator": DISCRIMINATOR[self.settings.adversarial](real_score, fake_score)}
        if self.settings.gradient_penalty:
            drawn = draw((len(image),), seed=self.seed, step=step, use="share", kind="uniform", device=image.device)
            between = interpolate(image, fake, drawn)
            # Of the critic summed over time, as in the authors' code: of the mean, its gradient would be W / 4 times as steep.
            scores = self.discriminator(between, self.label(target))
            losses["penalty"] = self.settings.gradient_penalty * gradient_penalty(scores, between)
        return losses

    def generator_losses(self, image: Tensor, own: Tensor, fake: Tensor, target: Tensor) -> dict[str, Tensor]:
        """L_adv^G, L_cls^G, L_cyc and L_id (eq. 2, 4, 5 and 6)."""
        with frozen(self.discriminator, self.classifier):
            scores, logits = self.discriminator(fake, self.label(target)), self.classifier(fake)
        back, same = self.generator(fake, self.label(own)), self.generator(image, self.label(own))
        settings = self.settings
        return {
            "adversarial": GENERATOR[settings.adversarial](scores),
            "fake_classification": settings.classification * category_loss(logits, target),
            "cycle": settings.cycle * cycle_consistency(image, back),
            "identity": settings.identity * cycle_consistency(image, same),
        }

    def label(self, domain: Tensor) -> Tensor:
        """One-hot, float32 [N, K]."""
        return one_hot(domain, self.num_domains)

    def exportable(self) -> Exportable:
        """The generator."""
        return exportable_of(self.view, self.generator)


def make_adam(name: str, network: nn.Module, settings: Any) -> Adam:
    """The optimizer of one network, with settings of its own if it is the discriminator."""
    if name == "discriminator":
        rate, betas = settings.discriminator_learning_rate, settings.discriminator_betas
    else:
        rate, betas = settings.learning_rate, settings.betas
    return Adam(network.parameters(), lr=rate, betas=betas, fused=True)
