"""Train StarGAN (Choi et al. 2018, arXiv 1711.09020): one generator for all domains of one data set, or of two jointly.

A step updates the discriminator and, at every ``critic_steps``-th step, the generator. With a train link ``second`` to another
view each step does so on both data sets in turn. Targets are the batch's own labels in random order: each as often as in the
batch. Labels are a domain an image, or several attributes (``labels``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial.domains import known_labels, label_vector
from components.adversarial.losses import (
    cycle_consistency,
    frozen,
    gradient_penalty,
    interpolate,
    wasserstein_critic,
    wasserstein_generator,
)
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import Strict
from components.core.recipe import Exportable, Graph, Published
from components.core.settings import RunSettings
from components.core.step import draw, gather, optimize, processes
from components.families.stargan.labels import Labels, label_table
from components.families.stargan.networks import Classifier, StarGAN
from components.families.stargan.settings import STREAMS, ExportSettings, TrainSettings, check_run, check_views
from components.families.stargan.signature import example_of, signature_of
from components.translation.interface import EVALUATION_ROLES, check_batch

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class StarGANRecipe(nn.Module):
    """The recipe. ``datasets``: the labels of each data set."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("init", "init_discriminator"),
        "evaluate": (*EVALUATION_ROLES, "attributes"),
    }
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = False
    prefers_fp32 = True  # unproven: the critic's Lipschitz constant is held by a gradient's norm
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    labels: Tensor

    def __init__(self, settings: RunSettings, view: ViewFacts, datasets: tuple[Labels, ...], networks: StarGAN):
        super().__init__()
        self.settings, self.seed, self.view, self.datasets = settings.train, settings.train.seed, view, datasets
        self.export = settings.export
        self.num_labels = tuple(len(labels.names) for labels in datasets)
        self.class_column = datasets[0].column if len(datasets) == 1 else ""
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.optimizers = {
            name: Adam(network.parameters(), lr=self.settings.learning_rate, betas=self.settings.betas, fused=True)
            for name, network in (("discriminator", self.discriminator), ("generator", self.generator))
        }
        self.averaged = {"generator": self.generator}
        self.published = {"init": networks, "init_discriminator": self.discriminator}
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
        """Networks for the labels of all views."""
        check_views(views)
        main = views["main"]
        datasets = tuple(Labels.of(views[role]) for role in STREAMS.values() if role in views)
        for labels in datasets:
            check_batch(settings.train.batch_size, settings.train.processes, 1 if labels.several else len(labels.names))
        num_labels = tuple(len(labels.names) for labels in datasets)
        return cls(settings, main, datasets, make_networks(settings, main.image_size, main.channels, num_labels))

    def streams(self) -> dict[str, Stream]:
        used = zip(STREAMS.items(), self.datasets, strict=False)
        return {role: labels.stream(view, self.settings.batch_size) for (role, view), labels in used}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        """One update of the discriminator, and one of the generator where it is due, on each data set in turn."""
        scalars: dict[str, Tensor] = {}
        for dataset, role in enumerate(self.streams()):
            losses = self.update(batches[role]["image"], self.datasets[dataset].read(batches[role]), dataset, step)
            scalars |= {name if dataset == 0 else f"{role}_{name}": loss for name, loss in losses.items()}
        return scalars

    def update(self, image: Tensor, labels: Tensor, dataset: int, step: int) -> dict[str, Tensor]:
        """The generator does not change between both updates: they share its translations, and their graph if it is due."""
        torch.clear_autocast_cache()  # another data set's updates have changed the weights that bf16 copies were made of
        generating = (step + 1) % self.settings.critic_steps == 0
        target = self.shuffled(labels, dataset, step)
        with torch.set_grad_enabled(generating):
            fake = self.generator(image, self.label(target, dataset))
        losses = self.discriminator_losses(image, labels, fake.detach(), dataset, step)
        optimize(losses, self.optimizers["discriminator"])
        if generating:
            more = self.generator_losses(image, labels, fake, target, dataset)
            optimize(more, self.optimizers["generator"])
            losses |= more
        return losses

    def discriminator_losses(self, image: Tensor, labels: Tensor, fake: Tensor, dataset: int, step: int) -> dict[str, Tensor]:
        """L_D (eq. 5, with the penalty of eq. 8): real against fake, and the labels of real images."""
        scores, logits = self.discriminator(torch.cat([image, fake]))
        real_score, fake_score = scores.chunk(2)
        real_logits = known_labels(logits[: len(image)], dataset, self.num_labels)
        share = self.draw((len(image),), step, f"share_{dataset}", "uniform")
        between = interpolate(image, fake, share)
        penalty = gradient_penalty(self.discriminator.scores(between), between)
        return {
            "critic": wasserstein_critic(real_score, fake_score),
            "penalty": self.settings.gradient_penalty * penalty,
            "classification": self.settings.classification * self.datasets[dataset].loss(real_logits, labels),
        }

    def generator_losses(self, image: Tensor, labels: Tensor, fake: Tensor, target: Tensor, dataset: int) -> dict[str, Tensor]:
        """L_G (eq. 6): adversarial loss, classification as the target, and reconstruction from the translation back."""
        with frozen(self.discriminator):
            scores, logits = self.discriminator(fake)
        back = self.generator(fake, self.label(labels, dataset))
        fake_logits = known_labels(logits, dataset, self.num_labels)
        return {
            "adversarial": wasserstein_generator(scores),
            "fake_classification": self.settings.classification * self.datasets[dataset].loss(fake_logits, target),
            "reconstruction": self.settings.reconstruction * cycle_consistency(image, back),
        }

    def shuffled(self, labels: Tensor, dataset: int, step: int) -> Tensor:
        """This process's share of the global batch's labels in random order of the images: [N] or [N, K]."""
        order = gather(self.draw((len(labels),), step, f"target_{dataset}", "uniform")).argsort(stable=True)
        first = processes()[0] * len(labels)
        return gather(labels)[order[first : first + len(labels)]]

    def label(self, labels: Tensor, dataset: int) -> Tensor:
        """The label vectors [c, mask] (eq. 7) of labels of ``dataset``: float32 [N, label_dim]."""
        if self.datasets[dataset].several:
            return label_vector(labels, dataset, self.num_labels)
        return self.labels[sum(self.num_labels[:dataset]) + labels]

    def draw(self, shape: tuple[int, ...], step: int, use: str, kind: Literal["normal", "uniform"]) -> Tensor:
        return draw(shape, seed=self.seed, step=step, use=use, kind=kind, device=self.labels.device)

    def exportable(self) -> Exportable:
        """The generator in eval mode.

        With running statistics this differs from the network that was trained, as for published checkpoints: the norms use
        averages over training images instead of each image's own moments.
        """
        graphs = {"model": Graph(self.generator, self.graph_inputs, ("translated",))}
        if any(labels.several for labels in self.datasets):
            graphs["classifier"] = Graph(Classifier(self.discriminator), lambda batch: {"image": batch["image"]}, ("logits",))
        return Exportable(
            graphs=graphs,
            facts=self.facts(),
            signature=signature_of(self.view, self.datasets),
            example=lambda batch: example_of(batch, self.datasets),
        )

    def graph_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Real images with their own attributes, or with every domain of every data set in turn."""
        if self.datasets[0].several:
            return {"image": batch["image"], "label": self.label(batch["labels"], 0)}
        target = torch.arange(batch["image"].shape[0]) % sum(self.num_labels)
        return {"image": batch["image"], "label": self.labels[target]}

    def facts(self) -> dict[str, Any]:
        """Facts for the served code. ``domains``: the labels of all data sets, one after another; ``several``: per data set."""
        facts = {
            "image_size": self.view.image_size,
            "channels": self.view.channels,
            "domains": [name for labels in self.datasets for name in labels.names],
            "num_labels": list(self.num_labels),
            "style_width": 0,
        }
        if not any(labels.several for labels in self.datasets):
            return facts
        groups = self.export.groups_among(facts["domains"])
        return facts | {"several": [labels.several for labels in self.datasets], "exclusive": groups}


def make_networks(settings: RunSettings, image_size: int, channels: int, num_labels: tuple[int, ...]) -> StarGAN:
    return StarGAN(image_size=image_size, channels=channels, num_labels=num_labels, **settings.model.options)
