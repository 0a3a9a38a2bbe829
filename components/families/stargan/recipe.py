"""Train StarGAN (Choi et al. 2018, arXiv 1711.09020): one generator for all domains of one data set, or of two jointly.

A step updates the discriminator and, at every ``critic_steps``-th step, the generator. With a train link ``second`` to another
view each step does so on both data sets in turn. Targets are the batch's own domains in random order: each equally often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial.domains import known_labels, label_vector
from components.adversarial.losses import (
    category_loss,
    cycle_consistency,
    frozen,
    gradient_penalty,
    interpolate,
    wasserstein_critic,
    wasserstein_generator,
)
from components.core.batch import Batch, Stream, ViewFacts
from components.core.recipe import Exportable, Graph, Published
from components.core.settings import RunSettings
from components.core.step import draw, gather, optimize, processes
from components.core.strict import NoSettings, Strict
from components.families.stargan.networks import StarGAN
from components.families.stargan.settings import STREAMS, TrainSettings, check_run, check_views
from components.translation.interface import EVALUATION_ROLES, check_batch, domains_of, example, signature

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class StarGANRecipe(nn.Module):
    """The recipe. ``domains``: the names of each data set's domains."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",), "evaluate": EVALUATION_ROLES}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    prefers_fp32 = True  # unproven: the critic's Lipschitz constant is held by a gradient's norm
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    labels: Tensor

    def __init__(self, settings: RunSettings, view: ViewFacts, domains: tuple[tuple[str, ...], ...], networks: StarGAN):
        super().__init__()
        self.settings, self.seed, self.view, self.domains = settings.train, settings.train.seed, view, domains
        self.num_labels = tuple(len(names) for names in domains)
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.optimizers = {
            name: Adam(network.parameters(), lr=self.settings.learning_rate, betas=self.settings.betas, fused=True)
            for name, network in (("discriminator", self.discriminator), ("generator", self.generator))
        }
        self.averaged = {"generator": self.generator}
        self.published = {"init": networks}
        self.register_buffer("labels", label_table(self.num_labels), persistent=False)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Raise ValueError for settings that do not fit each other."""
        check_run(settings, view)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> StarGAN:
        """Both networks for one data set of ``classes`` domains."""
        return make_networks(settings, image_size, channels, (classes,))

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> StarGANRecipe:
        """Networks for the domains of all views."""
        check_views(views)
        main = views["main"]
        domains = tuple(domains_of(views[role]) for role in STREAMS.values() if role in views)
        for names in domains:
            check_batch(settings.train.batch_size, settings.train.processes, len(names))
        networks = make_networks(settings, main.image_size, main.channels, tuple(map(len, domains)))
        return cls(settings, main, domains, networks)

    def streams(self) -> dict[str, Stream]:
        used = list(STREAMS.items())[: len(self.domains)]
        size = self.settings.batch_size
        return {role: Stream(view=view, batch_size=size, sampler="balanced", by="domain") for role, view in used}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """One update of the discriminator, and one of the generator where it is due, on each data set in turn."""
        scalars: dict[str, Tensor] = {}
        for dataset, role in enumerate(self.streams()):
            losses = self.update(batches[role]["image"], batches[role]["domain"], dataset, step)
            scalars |= {name if dataset == 0 else f"{role}_{name}": loss for name, loss in losses.items()}
        return scalars

    def update(self, image: Tensor, domain: Tensor, dataset: int, step: int) -> dict[str, Tensor]:
        """The generator does not change between both updates: they share its translations, and their graph if it is due."""
        torch.clear_autocast_cache()  # another data set's updates have changed the weights that bf16 copies were made of
        generating = (step + 1) % self.settings.critic_steps == 0
        target = self.shuffled(domain, dataset, step)
        with torch.set_grad_enabled(generating):
            fake = self.generator(image, self.label(target, dataset))
        losses = self.discriminator_losses(image, domain, fake.detach(), dataset, step)
        optimize(losses, self.optimizers["discriminator"])
        if generating:
            more = self.generator_losses(image, domain, fake, target, dataset)
            optimize(more, self.optimizers["generator"])
            losses |= more
        return losses

    def discriminator_losses(self, image: Tensor, domain: Tensor, fake: Tensor, dataset: int, step: int) -> dict[str, Tensor]:
        """L_D (eq. 5, with the penalty of eq. 8): real against fake, and the domain of real images."""
        scores, logits = self.discriminator(torch.cat([image, fake]))
        real_score, fake_score = scores.chunk(2)
        real_logits = known_labels(logits[: len(image)], dataset, self.num_labels)
        share = self.draw((len(image),), step, f"share_{dataset}", "uniform")
        between = interpolate(image, fake, share)
        penalty = gradient_penalty(self.discriminator.scores(between), between)
        return {
            "critic": wasserstein_critic(real_score, fake_score),
            "penalty": self.settings.gradient_penalty * penalty,
            "classification": self.settings.classification * category_loss(real_logits, domain),
        }

    def generator_losses(self, image: Tensor, domain: Tensor, fake: Tensor, target: Tensor, dataset: int) -> dict[str, Tensor]:
        """L_G (eq. 6): adversarial loss, classification as the target domain, and reconstruction from the translation back."""
        with frozen(self.discriminator):
            scores, logits = self.discriminator(fake)
        back = self.generator(fake, self.label(domain, dataset))
        fake_logits = known_labels(logits, dataset, self.num_labels)
        return {
            "adversarial": wasserstein_generator(scores),
            "fake_classification": self.settings.classification * category_loss(fake_logits, target),
            "reconstruction": self.settings.reconstruction * cycle_consistency(image, back),
        }

    def shuffled(self, domain: Tensor, dataset: int, step: int) -> Tensor:
        """This process's share of the global batch's domains in random order: int64 [N]."""
        order = gather(self.draw((len(domain),), step, f"target_{dataset}", "uniform")).argsort(stable=True)
        first = processes()[0] * len(domain)
        return gather(domain)[order[first : first + len(domain)]]

    def label(self, domain: Tensor, dataset: int) -> Tensor:
        """The label vectors [c, mask] (eq. 7) of domains of ``dataset``: float32 [N, label_dim]."""
        return self.labels[sum(self.num_labels[:dataset]) + domain]

    def draw(self, shape: tuple[int, ...], step: int, use: str, kind: Literal["normal", "uniform"]) -> Tensor:
        return draw(shape, seed=self.seed, step=step, use=use, kind=kind, device=self.labels.device)

    def exportable(self) -> Exportable:
        """The generator in eval mode.

        With running statistics this differs from the network that was trained, as for published checkpoints: the norms use
        averages over training images instead of each image's own moments.
        """
        return Exportable(
            graphs={"model": Graph(self.generator, self.graph_inputs, ("translated",))},
            facts=self.facts(),
            signature=signature(self.view, style_width=0),
            example=lambda batch: example(batch, 0, len(self.domains[0])),
        )

    def graph_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Real images, and every domain of every data set in turn."""
        target = torch.arange(batch["image"].shape[0]) % sum(self.num_labels)
        return {"image": batch["image"], "label": self.labels[target]}

    def facts(self) -> dict[str, Any]:
        """Facts for the served code. ``domains``: of all data sets, one after another."""
        return {
            "image_size": self.view.image_size,
            "channels": self.view.channels,
            "domains": [name for names in self.domains for name in names],
            "num_labels": list(self.num_labels),
            "style_width": 0,
        }


def label_table(num_labels: tuple[int, ...]) -> Tensor:
    """Row k: the label vector of the k-th of all domains, float32 [sum(num_labels), label_dim]."""
    return torch.cat([label_vector(torch.eye(count), index, num_labels) for index, count in enumerate(num_labels)])


def make_networks(settings: RunSettings, image_size: int, channels: int, num_labels: tuple[int, ...]) -> StarGAN:
    return StarGAN(image_size=image_size, channels=channels, num_labels=num_labels, **settings.model.options)
