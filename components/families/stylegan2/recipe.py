"""Train StyleGAN2 (Karras et al. 2020, arXiv 1912.04958): generator, path length, discriminator, R1, in this order.

Penalties are lazy (section 3.1): each has an update of its own, every k-th step, k times as large. With ``augment`` all that
the discriminator sees, real or generated, is augmented in the same way. R1 is the gradient with respect to the augmented image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.adversarial.losses import frozen, logistic_discriminator, logistic_generator, r1_penalty
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import Exportable, Published
from components.core.runtime import mix
from components.core.settings import RunSettings
from components.core.step import draw, gather, optimize
from components.families.stylegan2.ada import corruption
from components.families.stylegan2.ada.pipeline import NORMAL, UNIFORM, adaptive_augment, adjusted
from components.families.stylegan2.augment import NUMBERS, diff_augment
from components.families.stylegan2.export import exportable
from components.families.stylegan2.losses import lazy, path_length_penalty, path_lengths
from components.families.stylegan2.networks.stylegan2 import StyleGAN2
from components.families.stylegan2.settings import ROLES, TrainSettings, check_run
from components.families.stylegan2.vision import VisionAid, accuracy

if TYPE_CHECKING:
    from components.core.artifact import Artifact

CORRUPTING = {"filter", "noise", "cutout"}  # ADA's kinds that change no place and no colour


class StyleGAN2Recipe(nn.Module):
    """The recipe. ``path_mean``: moving mean of path lengths; ``probability``: of ADA; ``signs``: sum and number of sign(D)."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init", *ROLES), "evaluate": ("classifier",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    prefers_fp32 = False
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    path_mean: Tensor
    probability: Tensor
    signs: Tensor

    def __init__(self, settings: RunSettings, view: ViewFacts, networks: StyleGAN2, vision: VisionAid | None = None):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.vision = vision
        s = self.settings
        self.optimizers = {
            "generator": self.adam(self.generator, s.path_length_every),
            "discriminator": self.adam(self.discriminator, s.r1_every),
        }
        if vision:
            self.optimizers["vision"] = Adam(vision.parameters(), lr=s.learning_rate, betas=s.betas, eps=1e-8, fused=True)
        self.averaged = {"generator": self.generator}
        self.published = {"init": networks}
        self.register_buffer("path_mean", torch.zeros(()))
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(2))
        self.gamma = 2e-4 * view.image_size**2 / s.batch_size if s.r1 == "auto" else float(s.r1)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Raise ValueError for settings that do not fit each other."""
        check_run(settings, view, linked)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> StyleGAN2:
        """Both networks; ``classes``: of the view, which they see if ``class_condition`` is set."""
        options = settings.model.options
        if options.get("class_condition") and classes < 2:
            raise ValueError(f"model.class_condition: true is not allowed: the view has {classes} class(es)")
        return StyleGAN2(image_size=image_size, channels=channels, num_classes=classes, **options)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> StyleGAN2Recipe:
        """The networks for the view's images."""
        view = views["main"]
        networks = cls.build_network(settings, view.image_size, view.channels, len(view.classes.get("label", ())))
        classes = networks.generator.mapping.num_classes
        facts = {"channels": view.channels, "num_classes": classes, "batch_size": settings.train.batch_size}
        return cls(settings, view, networks, VisionAid.build(settings.train.vision, links, **facts))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights; the heads of backbones are left out if there are none, as after the training."""
        if self.vision is None:
            state_dict = {name: value for name, value in state_dict.items() if not name.startswith("vision.")}
        return super().load_state_dict(state_dict, strict, assign)

    def adam(self, network: nn.Module, every: int) -> Optimizer:
        """The optimizer of a network that has a lazy penalty every ``every`` updates."""
        rate, betas = lazy(self.settings.learning_rate, self.settings.betas, every)
        return Adam(network.parameters(), lr=rate, betas=betas, eps=1e-8, fused=True)

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        if self.settings.vision and self.vision is None:
            raise ValueError("train.vision.published: no link at stage train brings a file for these backbones")
        image = batches["train"]["image"]
        label = batches["train"]["label"] if self.generator.mapping.num_classes else None

        with frozen(self.discriminator):
            fake = self.generator.synthesise(
                self.styles(len(image), label, step, "generator"), self.noise(image, step, "generator")
            )
            terms = {"generator": logistic_generator(self.discriminator(self.augmented(fake, step, "generator"), label))}
            terms |= self.vision_of_generator(fake, label, step)
            optimize(terms, self.optimizers["generator"])
        logged = dict(terms)
        if self.settings.path_length > 0 and step % self.settings.path_length_every == 0:
            logged |= self.update_path_length(image, label, step)

        with torch.no_grad():
            styles = self.styles(len(image), label, step, "discriminator")
            fake = self.generator.synthesise(styles, self.noise(image, step, "discriminator"))
        real = self.discriminator(self.augmented(image, step, "real"), label)
        loss = logistic_discriminator(real, self.discriminator(self.augmented(fake, step, "fake"), label))
        optimize(loss, self.optimizers["discriminator"])
        logged |= {"discriminator": loss, "real_score": real.mean()}
        logged |= self.update_vision(image, fake, label, step)
        if self.settings.augment == "ada":
            logged |= self.adapt(real, step)
        if self.gamma > 0 and step % self.settings.r1_every == 0:
            logged |= self.update_r1(image, label, step)
        return logged

    def update_path_length(self, image: Tensor, label: Tensor | None, step: int) -> dict[str, Tensor]:
        """Update the generator on the path length penalty (eq. 4) of a part of a batch."""
        s, number = self.settings, len(image) // self.settings.path_batch_shrink
        styles = self.styles(number, None if label is None else label[:number], step, "path_length")
        fake = self.generator.synthesise(styles, self.noise(image[:number], step, "path_length"))
        lengths = path_lengths(
            fake, styles, draw(tuple(fake.shape), seed=self.seed, step=step, use="direction", device=fake.device)
        )
        penalty, mean = path_length_penalty(gather(lengths), self.path_mean, s.path_length_decay)
        optimize({"path_length": s.path_length * s.path_length_every * penalty}, self.optimizers["generator"])
        self.path_mean.copy_(mean)
        return {"path_length": mean, "path_penalty": penalty}

    def update_r1(self, image: Tensor, label: Tensor | None, step: int) -> dict[str, Tensor]:
        """Update the discriminator on R1 at real images, augmented as they are shown to it."""
        shown = self.augmented(image, step, "real").detach().requires_grad_()
        penalty = r1_penalty(self.discriminator(shown, label), shown)
        optimize({"r1": self.gamma * self.settings.r1_every * penalty}, self.optimizers["discriminator"])
        return {"r1": penalty}

    def vision_of_generator(self, fake: Tensor, label: Tensor | None, step: int) -> dict[str, Tensor]:
        """The generator's losses by the heads on frozen networks."""
        if self.vision is None:
            return {}
        with frozen(self.vision):
            logits = self.vision.logits(self.shown_to_backbones(fake, step, "generator"), label, step)
        return {f"generator_{role}": term for role, term in self.vision.generator_terms(logits).items()}

    def update_vision(self, image: Tensor, fake: Tensor, label: Tensor | None, step: int) -> dict[str, Tensor]:
        """Update the heads; their accuracies are logged, since a head that is always right teaches nothing."""
        if self.vision is None:
            return {}
        probes = self.vision.search(image, fake, step)
        if not self.vision.members(step):
            return probes
        real = self.vision.logits(self.shown_to_backbones(image, step, "real"), label, step)
        made = self.vision.logits(self.shown_to_backbones(fake, step, "fake"), label, step)
        terms = {f"discriminator_{role}": term for role, term in self.vision.discriminator_terms(real, made).items()}
        optimize(terms, self.optimizers["vision"])
        return terms | accuracy(real, made) | probes

    def shown_to_backbones(self, image: Tensor, step: int, use: str) -> Tensor:
        """The images as the frozen networks see them: by DiffAugment."""
        numbers = draw(
            (len(image), NUMBERS), seed=self.seed, step=step, use=f"{use}_vision", kind="uniform", device=image.device
        )
        assert self.vision is not None
        return diff_augment(image, self.vision.settings.policy, numbers)

    def styles(self, number: int, label: Tensor | None, step: int, use: str) -> Tensor:
        """[N, L, S] of new latent codes; in a share of the updates two of them are mixed (arXiv 1812.04948, section 3.1)."""
        mapping, device = self.generator.mapping, self.path_mean.device
        shape = (number, mapping.latent_dim)
        first = mapping(draw(shape, seed=self.seed, step=step, use=f"{use}_latent", device=device), label)
        coin, place = torch.rand(2, generator=torch.Generator().manual_seed(mix(self.seed, step, f"{use}_mixing"))).tolist()
        if coin >= self.settings.style_mixing:
            return self.generator.repeated(first)
        second = mapping(draw(shape, seed=self.seed, step=step, use=f"{use}_other_latent", device=device), label)
        return self.generator.mixed(first, second, 1 + int(place * (self.generator.num_styles - 1)))

    def noise(self, image: Tensor, step: int, use: str) -> Tensor:
        """New noise of all layers for as many images: [N, P]."""
        shape = (len(image), self.generator.noise_size)
        return draw(shape, seed=self.seed, step=step, use=f"{use}_noise", device=image.device)

    def augmented(self, image: Tensor, step: int, use: str) -> Tensor:
        """The images as the discriminator sees them."""
        where = {"seed": self.seed, "step": step, "device": image.device}
        if self.settings.augment == "diffaugment":
            numbers = draw((len(image), NUMBERS), use=f"{use}_augment", kind="uniform", **where)
            return diff_augment(image, self.settings.policy, numbers)
        if self.settings.augment == "ada":
            uniform = draw((len(image), UNIFORM), use=f"{use}_augment", kind="uniform", **where)
            normal = draw((len(image), NORMAL), use=f"{use}_augment_sizes", **where)
            ada = self.settings.ada
            image = adaptive_augment(image, self.probability, uniform, normal, kinds=ada.kinds, resampling=ada.resampling)
            return self.corrupted(image, step, use) if CORRUPTING & set(ada.kinds) else image
        return image

    def corrupted(self, image: Tensor, step: int, use: str) -> Tensor:
        """ADA's filtering, noise and cutout of augmented images."""
        where = {"seed": self.seed, "step": step, "device": image.device}
        uniform = draw((len(image), corruption.UNIFORM), use=f"{use}_corrupt", kind="uniform", **where)
        normal = draw((len(image), corruption.NORMAL), use=f"{use}_corrupt_sizes", **where)
        kinds = self.settings.ada.kinds
        noise = draw(tuple(image.shape), use=f"{use}_corrupt_noise", **where) if "noise" in kinds else None
        return corruption.corrupt(image, self.probability, kinds, uniform=uniform, normal=normal, noise=noise)

    def adapt(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """Count the signs of the scores of real images; every few updates adjust the probability."""
        ada, signs = self.settings.ada, gather(real.detach().float().sign())
        self.signs += torch.stack([signs.sum(), signs.new_tensor(len(signs))])
        sign = self.signs[0] / self.signs[1]
        if (step + 1) % ada.every == 0:
            images = ada.every * self.settings.batch_size
            moved = adjusted(self.probability, sign, target=ada.target, images=images, speed=ada.images, most=ada.most)
            self.probability.copy_(moved)
            self.signs.zero_()
        return {"ada_sign": sign.clone(), "ada_probability": self.probability.clone()}

    def exportable(self) -> Exportable:
        """Mapping network and synthesis network."""
        return exportable(self.generator, self.view)
