"""Train StarGAN v2 (Choi et al. 2020, arXiv 1912.01865): two discriminator and two generator updates per step.

The order is that of the authors' training: discriminator on translations in random styles, discriminator on translations in
styles of references; generator, mapping network and style encoder on the former, the generator alone on the latter.

A step computes once what it needs twice, if no weight changes in between. The discriminator's updates leave the other networks
unchanged: the translations in random styles, with their graph, serve the discriminator's first update and then the
generator's, and one content code per image serves three translations. The second image of the diversity has no graph, nor do
the discriminator's weights while others are updated.

In the paper's generator of faces, masks from a face's landmarks select the edges that the high-pass skip passes. There is no
network for landmarks here: with ``high_pass`` above 0 edges pass everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial.domains import of_domain, pairs_of_a_domain
from components.adversarial.losses import (
    cycle_consistency,
    diversity,
    frozen,
    linear_decay,
    logistic_discriminator,
    logistic_generator,
    r1_penalty,
    style_reconstruction,
)
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import Exportable, Graph, Published
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.families.stargan_v2.networks import Content, StarGANv2, Translator, edges_everywhere
from components.families.stargan_v2.settings import TrainSettings, check_run
from components.translation.interface import EVALUATION_ROLES, check_batch, domains_of, example, signature

if TYPE_CHECKING:
    from components.core.artifact import Artifact


@dataclass(frozen=True)
class Task:
    """Images [N, C, H, W] of domains ``source`` to translate into ``target``, both int64 [N]."""

    image: Tensor
    source: Tensor
    target: Tensor


class StarGANv2Recipe(nn.Module):
    """The recipe. The networks are named as in the authors' files."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",), "evaluate": EVALUATION_ROLES}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    prefers_fp32 = True
    detects: ClassVar[bool] = False
    class_column: ClassVar[str] = "domain"
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]

    def __init__(self, settings: RunSettings, view: ViewFacts, networks: StarGANv2):
        super().__init__()
        self.settings, self.seed, self.view, self.domains = settings.train, settings.train.seed, view, domains_of(view)
        self.generator, self.mapping_network = networks.generator, networks.mapping_network
        self.style_encoder, self.discriminator = networks.style_encoder, networks.discriminator
        s = self.settings
        slow, rest = {"mapping_network": s.mapping_learning_rate}, {"betas": s.betas, "weight_decay": s.weight_decay}
        self.optimizers = {
            name: Adam(trained(network), lr=slow.get(name, s.learning_rate), fused=True, **rest)
            for name, network in self.named_children()
        }
        self.averaged = {name: network for name, network in self.named_children() if name != "discriminator"}
        self.published = {"init": networks}

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Raise ValueError for settings that do not fit each other."""
        check_run(settings, view, linked)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> StarGANv2:
        """The four networks; ``classes``: the number of domains."""
        return StarGANv2(image_size=image_size, channels=channels, num_domains=classes, **settings.model.options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> StarGANv2Recipe:
        """The networks for the view's domains."""
        view, domains = views["main"], domains_of(views["main"])
        check_batch(settings.train.batch_size, settings.train.processes, len(domains))
        networks = cls.build_network(settings, view.image_size, view.channels, len(domains))
        return cls(settings, view, networks)

    def streams(self) -> dict[str, Stream]:
        batch = self.settings.batch_size
        return {
            "train": Stream(view="main", batch_size=batch, sampler="balanced", by="domain"),
            "reference": Stream(view="main", batch_size=2 * batch, sampler="balanced", by="domain"),
        }

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        image, source = batches["train"]["image"], batches["train"]["domain"]
        first, second, target = self.references(batches["reference"])
        task = Task(image, source, target)

        content, style = self.content(image), self.random_style(target, step, "latent")
        fake = self.generator.render(content, style)
        with torch.no_grad():
            guided = self.generator.render(content, self.style_of(first, target))
            other = self.generator.render(content, self.random_style(target, step, "other_latent"))
        logged = self.update_discriminator(task, fake.detach(), 2 * step, "latent")
        logged |= self.update_discriminator(task, guided, 2 * step + 1, "reference")

        with frozen(self.discriminator):
            terms = self.translation_terms(task, fake, other, style)
            trained_now = ("generator", "mapping_network", "style_encoder")
            optimize(self.weighted(terms, step), *(self.optimizers[name] for name in trained_now))
        logged |= {f"latent_{name}": term for name, term in terms.items()}

        torch.clear_autocast_cache()
        with frozen(self.discriminator, self.style_encoder):
            style, other_style = self.style_of(torch.cat([first, second]), target.repeat(2)).chunk(2)
            content = self.content(image)
            with torch.no_grad():
                other = self.generator.render(content, other_style)
            terms = self.translation_terms(task, self.generator.render(content, style), other, style)
            optimize(self.weighted(terms, step), self.optimizers["generator"])
        return logged | {f"reference_{name}": term for name, term in terms.items()}

    def update_discriminator(self, task: Task, fake: Tensor, number: int, kind: str) -> dict[str, Tensor]:
        """Update ``number``: real images in their domains against ``fake`` ones in the targets; R1 on the real ones if due."""
        torch.clear_autocast_cache()  # otherwise bf16 copies of the weights from before the last update are used again
        s = self.settings
        due = s.r1 > 0 and number % s.r1_every == 0
        image = task.image.detach().requires_grad_(due)
        real = of_domain(self.discriminator(image), task.source)
        scores = of_domain(self.discriminator(fake), task.target)
        terms = {"adversarial": logistic_discriminator(real, scores)}
        if due:
            terms["r1"] = s.r1 * s.r1_every * r1_penalty(real, image)
        optimize(terms, self.optimizers["discriminator"])
        return {f"discriminator_{kind}_{name}": term for name, term in terms.items()}

    def translation_terms(self, task: Task, fake: Tensor, other: Tensor, style: Tensor) -> dict[str, Tensor]:
        """The losses of the generator, mapping network and style encoder (eq. 1 to 4), without weights.

        ``fake``: the task's images translated in ``style`` [N, S]; ``other``: the same in another style.
        """
        back = self.generator.render(self.content(fake), self.style_of(task.image, task.source))
        return {
            "adversarial": logistic_generator(of_domain(self.discriminator(fake), task.target)),
            "style": style_reconstruction(style, self.style_of(fake, task.target)),
            "diversity": diversity(fake, other),
            "cycle": cycle_consistency(task.image, back),
        }

    def weighted(self, terms: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """The terms of eq. 5 with their weights at ``step``; the diversity is maximised."""
        s = self.settings
        spread = linear_decay(s.diversity, step, s.diversity_steps or s.steps)
        weights = {"adversarial": 1.0, "style": s.style, "diversity": -spread, "cycle": s.cycle}
        return {name: weights[name] * term for name, term in terms.items()}

    def references(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """2 B images -> B pairs of images of one domain: the first and second images, and their domain int64 [B]."""
        image, domain = batch["image"], batch["domain"]
        first, second = pairs_of_a_domain(domain, len(self.domains))
        return image[first], image[second], domain[first]

    def content(self, image: Tensor) -> Content:
        return self.generator.content(image, edges_everywhere(self.generator, image))

    def random_style(self, domain: Tensor, step: int, use: str) -> Tensor:
        """Styles [N, S] in the domains [N], from latent codes N(0, I)."""
        shape = (domain.shape[0], self.mapping_network.latent_dim)
        latent = draw(shape, seed=self.seed, step=step, use=use, device=domain.device)
        return of_domain(self.mapping_network(latent), domain)

    def style_of(self, image: Tensor, domain: Tensor) -> Tensor:
        """Styles [N, S] of the images in the domains [N]."""
        return of_domain(self.style_encoder(image), domain)

    def exportable(self) -> Exportable:
        """Generator, mapping network and style encoder."""
        width = self.mapping_network.style_dim
        return Exportable(
            graphs={
                "generator": Graph(Translator(self.generator), self.own_styles, ("translation",), bound=1e-3),  # 1/8 grey level
                "mapping": Graph(self.mapping_network, self.latent_codes, ("styles",)),
                "style": Graph(self.style_encoder, lambda batch: {"image": batch["image"]}, ("styles",)),
            },
            facts={
                "image_size": self.view.image_size,
                "channels": self.view.channels,
                "domains": list(self.domains),
                "latent_dim": self.mapping_network.latent_dim,
                "style_width": width,
            },
            signature=signature(self.view, width),
            example=lambda batch: example(batch, width, len(self.domains)),
        )

    @torch.no_grad()
    def own_styles(self, batch: Batch) -> dict[str, Tensor]:
        """Images, and their styles in their own domains."""
        return {"image": batch["image"], "style": self.style_of(batch["image"], batch["domain"])}

    def latent_codes(self, batch: Batch) -> dict[str, Tensor]:
        """A random latent code per image."""
        count = batch["image"].shape[0]
        source = torch.Generator().manual_seed(count)
        return {"latent": torch.randn(count, self.mapping_network.latent_dim, generator=source)}


def trained(network: nn.Module) -> list[nn.Parameter]:
    """All weights but those that exist for published files alone."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
