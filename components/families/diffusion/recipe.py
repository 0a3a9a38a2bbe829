"""Diffusion models: DDPM's training with any of three targets, four noise schedules and three conditions; Adam.

A U-Net predicts x_0, eps or v from x_t (Ho et al. 2020, arXiv 2006.11239; Salimans & Ho 2022, arXiv 2202.00512; Kingma et al.
2021, arXiv 2107.00630). ``label_dropout`` replaces all conditions of some images by nothing, so that one network is also the
unconditional model of classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import Direction, Exportable, Published
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.diffusion.conditions import drop_conditions, lower_resolution, null_of, tokens_of
from components.diffusion.model import ConditionalModel
from components.diffusion.objective import times_of, training_loss, variational_bound
from components.families.diffusion.export import exportable
from components.families.diffusion.settings import Conditions, TrainSettings
from components.networks.caption_transformer import CaptionTransformer
from components.networks.published import ClassNames, Fit, Fitted, below
from components.serving.text import BYTES

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class Diffusion(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("init",),
        "export": ("classifier", "base"),
        "evaluate": ("classifier", "inception", "clip", "detector"),
    }
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    validation: ClassVar[Mapping[str, Direction]] = {"loss": "min"}
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    captions: Tensor | None  # int64 [K, context]: the captions of the view's classes, if a template makes them

    def __init__(self, settings: RunSettings, view: ViewFacts, model: ConditionalModel):
        super().__init__()
        self.options, self.settings, self.seed, self.view = settings.model, settings.train, settings.train.seed, view
        self.model, self.conditions = model, settings.train.conditions
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizers = {"model": Adam(trained, lr=self.settings.learning_rate, betas=self.settings.betas, fused=True)}
        self.averaged = {"model": model}
        self.published = {"init": Start(model)}
        self.prefers_fp32 = bool(model.network.prefers_fp32)
        text = self.conditions.text
        named = text and not self.conditions.captions
        tokens = tokens_of([text.of(name) for name in view.classes["label"]], text.context) if named and text else None
        self.register_buffer("captions", tokens, persistent=False)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> nn.Module:
        """Build the U-Net for the conditions of the ``train`` block."""
        facts = settings.train.conditions.network_options(image_size, channels, classes)
        network: nn.Module = catalogue.build_network(settings.model, facts)
        return network

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> Diffusion:
        """Build the model for the view."""
        view, train = views["main"], settings.train
        classes = view.classes.get("label", ())
        if not classes and train.conditions.need_classes():
            raise ValueError(f"train.conditions: view {view.name!r} has no classes to be conditioned on")
        network = cls.build_network(settings, view.image_size, view.channels, len(classes))
        text = train.conditions.text
        captions = CaptionTransformer(**text.encoder_options()) if text else None
        noise = {"schedule": train.noise.schedule, "num_steps": train.noise.num_steps}
        model = ConditionalModel(network, captions, target=train.target, **noise)
        return cls(settings, view, model)

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        x0, num_steps = batches["train"]["image"], self.settings.noise.num_steps
        condition = self.drop(self.add_noise(self.condition(batches["train"]), step), step)
        t = times_of(self.draw((x0.shape[0],), step, "time", "even"), num_steps, self.model.schedule.start)
        loss = self.losses(x0, t, condition, lambda use: self.draw(x0.shape, step, use)).mean() / self.scale(x0)
        optimize(loss, self.optimizers["model"], clip_norm=self.settings.clip_norm)
        return {"loss": loss}

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """The training loss [N] with all conditions, at times spread over the batch, as in training."""
        x0, num_steps = batches["train"]["image"], self.settings.noise.num_steps
        uniform = (torch.arange(len(x0), device=x0.device) + 0.5) / len(x0)
        t = times_of(uniform, num_steps, self.model.schedule.start)
        losses = self.losses(x0, t, self.condition(batches["train"]), lambda use: torch.randn_like(x0))
        return {"loss": losses / self.scale(x0)}

    def losses(self, x0: Tensor, t: Tensor, condition: dict[str, Tensor], noise: Callable[[str], Tensor]) -> Tensor:
        """The loss of each image [N] at the times t [N]; for "vdm_learned" the bound in nats. ``noise``: use -> eps like x0."""
        schedule = self.model.schedule
        options: dict[str, Any] = {"target": self.settings.target, "num_steps": self.settings.noise.num_steps}

        def network(x: Tensor, time: Tensor) -> Tensor:
            return self.model(x, time, condition)

        if self.learns_noise:  # the schedule's two parameters are learnt from all three terms of the bound
            bound = variational_bound(network, x0, noise("eps"), t, schedule, eps_start=noise("eps_start"), **options)
            return bound.total()
        options |= {"weighting": self.settings.weighting, "min_snr_gamma": self.settings.min_snr_gamma}
        return training_loss(network, x0, noise("eps"), t, schedule, **options)

    @property
    def learns_noise(self) -> bool:
        return self.settings.noise.schedule == "vdm_learned"

    def scale(self, x0: Tensor) -> int:
        """Divisor of ``losses``: numbers of an image if they are nats of an image."""
        return x0[0].numel() if self.learns_noise else 1

    def draw(self, shape: tuple[int, ...], step: int, use: str, kind: Any = "normal") -> Tensor:
        device = next(self.model.parameters()).device
        return draw(tuple(shape), seed=self.seed, step=step, use=use, kind=kind, device=device)

    def condition(self, batch: Batch) -> dict[str, Tensor]:
        """The conditions of a batch's images; {} for an unconditional run."""
        condition: dict[str, Tensor] = {}
        if self.conditions.label:
            condition["label"] = batch["label"]
        if self.captions is not None:
            condition["tokens"] = self.captions[batch["label"]]
        elif self.conditions.captions:
            condition["tokens"] = batch["tokens"]
        if self.conditions.low_resolution:
            condition["low_resolution"] = lower_resolution(batch["image"], self.conditions.low_resolution.factor)
        return condition

    def add_noise(self, condition: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Add noise with a standard deviation from U(0, noise) to low-resolution images (Ho et al. 2022, arXiv 2106.15282)."""
        low = self.conditions.low_resolution
        if low is None or low.noise == 0:
            return condition
        image = condition["low_resolution"]
        deviation = low.noise * self.draw((image.shape[0], 1, 1, 1), step, "low_deviation", "uniform")
        return condition | {"low_resolution": image + deviation * self.draw(image.shape, step, "low_noise")}

    def drop(self, condition: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Replace the conditions of a random share ``label_dropout`` of the images by nothing."""
        if self.conditions.label_dropout == 0:
            return condition
        count = next(iter(condition.values())).shape[0]
        dropped = self.draw((count,), step, "dropout", "uniform") < self.conditions.label_dropout
        return drop_conditions(condition, null_of(condition), dropped)

    def exportable(self) -> Exportable:
        return exportable(self)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError for settings, or runs behind links at stage export, that do not fit each other."""
        export = linked.get("export", {})
        if settings.model.name != "unet":
            raise ValueError(f"model.name: {settings.model.name!r} predicts no noise; allowed: unet")
        low = settings.train.conditions.low_resolution
        if low and view.image_size % low.factor:
            fault = f"train.conditions.low_resolution.factor: {low.factor} is not allowed"
            raise ValueError(f"{fault}: it does not divide the view's {view.image_size} pixels")
        check_captions(settings.train.conditions, view)
        if "classifier" in export:
            check_classifier(settings, export["classifier"])
        if "base" in export:
            check_base(settings, export["base"])


def check_captions(conditions: Conditions, view: Any) -> None:
    """A view whose captions are a condition must hold them as bytes, of the same length."""
    if conditions.text is None or not conditions.captions:
        return
    if view.text is None or view.text.tokeniser != BYTES:
        found = "no captions" if view.text is None else f"its captions as {view.text.tokeniser}"
        raise ValueError(f"train.conditions.text: without a template the view needs text: {{tokeniser: bytes}}; it has {found}")
    if view.text.context_length != conditions.text.context:
        fault = f"train.conditions.text.context: {conditions.text.context} is not allowed"
        raise ValueError(f"{fault}: the view's context_length is {view.text.context_length}")


def check_classifier(settings: RunSettings, other: RunSettings) -> None:
    """The guiding classifier must have been trained on this run's noise, and there must be a label to guide to."""
    where = f"export: the link classifier leads to {other.name!r}"
    if other.recipe != "noisy_classifier":
        raise ValueError(f"{where}, a {other.recipe} run, which is no noise-aware classifier; noisy_classifier is one")
    own, theirs = settings.train.noise, other.train.noise
    # VDM's network receives log SNR: a learned line means the same to a classifier that was trained on the fixed one.
    if (own.schedule.replace("learned", "fixed"), own.num_steps) != (theirs.schedule, theirs.num_steps):
        found, wanted = (f"{noise.schedule} with num_steps {noise.num_steps}" for noise in (theirs, own))
        raise ValueError(f"{where}, whose noise is {found}; this run's is {wanted}")
    names = settings.train.conditions.names()
    if names and "label" not in names:
        raise ValueError(f"{where}, which guides to a label, and this run's images are asked for by {' and '.join(names)}")


def check_base(settings: RunSettings, other: RunSettings) -> None:
    """The base of a cascade must be a diffusion run whose conditions this run also has."""
    where = f"export: the link base leads to {other.name!r}"
    conditions = settings.train.conditions
    if other.recipe != "diffusion":
        raise ValueError(f"{where}, a {other.recipe} run; a diffusion run is expected")
    if not conditions.low_resolution:
        raise ValueError(f"{where}, but this run enlarges nothing: add train.conditions.low_resolution")
    theirs = other.train.conditions
    if theirs.low_resolution or (theirs.text and theirs.text != conditions.text) or (theirs.label and not conditions.label):
        told = ", ".join(conditions.names())
        raise ValueError(
            f"{where}, which is conditioned on {', '.join(theirs.names())}; this run could tell it of {told} alone"
        )


@dataclass(frozen=True)
class Start:
    """The model, as starting weights reach it: those of another run of this recipe, or of a published network."""

    model: ConditionalModel
    place: ClassVar[str] = "model"  # its name in the recipe

    def load_published(self, state: dict[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load the whole model, or its network alone; see ``Published``.

        A run may start from one with other conditions: what encodes them starts fresh or is left out.
        """
        inside = {name.removeprefix("network."): w for name, w in state.items() if name.startswith("network.")}
        network: Any = self.model.network
        if not inside:
            fitted: Fitted = network.load_published(state, names)
            return fitted
        fit = Fit.of_parts(self.model, {"network": network.fit_published(inside, names)})
        fit.state |= {name: w for name, w in state.items() if not name.startswith("network.")}
        for part, what in (("captions", "an encoder of captions"), ("schedule", "a learnt noise schedule")):
            found, expected = (below(part, tensors) for tensors in (fit.state, fit.own))
            if expected and not found:
                fit.start_fresh(part, f"the file has no {what.partition(' ')[2]}")
            elif not expected:
                fit.leave_out(part, found, f"the file has {what}, this run none")
        return fit.load()
