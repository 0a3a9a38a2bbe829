"""Diffusion: one of three targets and four noise schedules, up to three conditions, in ``components.diffusion``'s words; Adam.

A U-Net predicts x_0, eps or v from x_t (Ho et al. 2020, arXiv 2006.11239; Salimans & Ho 2022, arXiv 2202.00512; Kingma et al.
2021, arXiv 2107.00630). Conditions are dropped together, at the rate ``dropout``, so that guidance has an unconditional model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.core.batch import Batch, Split, Stream, ViewFacts
from components.core.recipe import Exportable, Graph, Report
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.core.strict import resolve
from components.diffusion.conditional_model import ConditionalModel, Positional
from components.diffusion.conditions import NUM_TOKENS, lower_resolution, null_of, tokens_of
from components.diffusion.guidance import drop_conditions
from components.diffusion.objective import diffuse, times_of, training_loss, variational_bound
from components.families.diffusion.border import example, signature
from components.families.diffusion.settings import (
    Conditions,
    EvaluateSettings,
    NoSettings,
    TextSettings,
    TrainSettings,
    check_run,
)
from components.networks import MODELS
from components.networks.caption_transformer import CaptionTransformer
from components.networks.published import load_fitting

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class Diffusion(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("init",),
        "export": ("classifier", "base"),
        "evaluate": ("classifier", "inception"),
    }
    Train, Export, Evaluate = TrainSettings, NoSettings, EvaluateSettings
    detects = False
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    captions: Tensor | None  # int64 [K, context]: the view's classes as texts

    def __init__(self, settings: RunSettings, view: ViewFacts, model: ConditionalModel):
        super().__init__()
        self.options, self.settings, self.seed, self.view = settings.model, settings.train, settings.train.seed, view
        self.model, self.conditions = model, settings.train.conditions
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizers = {"model": Adam(trained, lr=self.settings.learning_rate, betas=self.settings.betas, fused=True)}
        self.averaged = {"model": model}
        self.prefers_fp32 = bool(model.network.prefers_fp32)
        text = self.conditions.text
        tokens = tokens_of([text.of(name) for name in view.classes["label"]], text.context) if text else None
        self.register_buffer("captions", tokens, persistent=False)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError for settings, or runs behind links, that do not fit each other."""
        check_run(settings, view, linked)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: int, channels: int, classes: int) -> nn.Module:
        """The U-Net with the conditions that the ``train`` block names."""
        network: nn.Module = resolve(MODELS, settings.model.name, "model.name")(
            **network_facts(settings.train.conditions, image_size, channels, classes), **settings.model.options
        )
        return network

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> Diffusion:
        """The model for the view, from published or own weights where a link ``init`` is."""
        view, train = views["main"], settings.train
        classes = view.classes.get("label", ())
        if not classes and (train.conditions.label or train.conditions.text):
            raise ValueError(f"train.conditions: view {view.name!r} has no classes to be conditioned on")
        network = cls.build_network(settings, view.image_size, view.channels, len(classes))
        options = caption_options(train.conditions.text)
        captions = CaptionTransformer(**options) if options else None
        noise = {"schedule": train.noise.schedule, "num_steps": train.noise.num_steps}
        model = ConditionalModel(network, captions, target=train.target, **noise)
        if "init" in links:
            start_from(model, links["init"])
        return cls(settings, view, model)

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        x0, schedule, num_steps = batches["train"]["image"], self.model.schedule, self.settings.noise.num_steps
        condition = self.dropped(self.noised(self.condition(batches["train"]), step), step)
        uniform = self.draw((x0.shape[0],), step, "time", "even")
        t, eps = times_of(uniform, num_steps, schedule.start), self.draw(x0.shape, step, "eps")

        def network(x: Tensor, time: Tensor) -> Tensor:
            return self.model(x, time, condition)

        settings: dict[str, Any] = {"target": self.settings.target, "num_steps": num_steps}
        if self.settings.noise.schedule == "vdm_learned":  # its end points are learnt from all three terms of the bound
            eps_start = self.draw(x0.shape, step, "eps_start")
            bound = variational_bound(network, x0, eps, t, schedule, eps_start=eps_start, **settings)
            loss = bound.total().mean() / bound.num_dims
        else:
            settings |= {"weighting": self.settings.weighting, "clip": self.settings.min_snr_clip}
            loss = training_loss(network, x0, eps, t, schedule, **settings).mean()
        optimize(loss, self.optimizers["model"], clip_norm=self.settings.clip_norm)
        return {"loss": loss}

    def draw(self, shape: tuple[int, ...], step: int, use: str, kind: Any = "normal") -> Tensor:
        device = next(self.model.parameters()).device
        return draw(tuple(shape), seed=self.seed, step=step, use=use, kind=kind, device=device)

    def condition(self, batch: Batch) -> dict[str, Tensor]:
        """What the images of a batch are conditioned on; {} for an unconditional run."""
        found: dict[str, Tensor] = {}
        if self.conditions.label:
            found["label"] = batch["label"]
        if self.captions is not None:
            found["tokens"] = self.captions[batch["label"]]
        if self.conditions.low_resolution:
            found["low_resolution"] = lower_resolution(batch["image"], self.conditions.low_resolution.factor)
        return found

    def noised(self, condition: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """The low-resolution image with noise of a deviation drawn from [0, noise] (Ho et al. 2022, arXiv 2106.15282)."""
        low = self.conditions.low_resolution
        if low is None or low.noise == 0:
            return condition
        image = condition["low_resolution"]
        deviation = low.noise * self.draw((image.shape[0], 1, 1, 1), step, "low_deviation", "uniform")
        return condition | {"low_resolution": image + deviation * self.draw(image.shape, step, "low_noise")}

    def dropped(self, condition: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """The conditions of a share of the images replaced by nothing."""
        if self.conditions.dropout == 0:
            return condition
        count = next(iter(condition.values())).shape[0]
        dropped = self.draw((count,), step, "dropout", "uniform") < self.conditions.dropout
        return drop_conditions(condition, null_of(condition), dropped)

    def exportable(self) -> Exportable:
        names = self.conditions.names()
        return Exportable(
            graphs={"model": Graph(Positional(self.model, names), self.graph_inputs, ("prediction",))},
            facts=self.facts(),
            signature=signature(self.view, self.conditions, self.settings.noise.num_steps),
            example=lambda batch: example(self.condition(batch), batch, self.view, self.conditions),
            weights=dict(self.model.state_dict()),
        )

    def graph_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Real images at times from early to late, really noised; the time input; the conditions in order."""
        x0, schedule = batch["image"], self.model.schedule
        count = x0.shape[0]
        t = times_of((torch.arange(count) + 0.5) / count, self.settings.noise.num_steps, schedule.start)
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(count))
        x = diffuse(x0, eps, schedule.log_snr(t).detach())
        condition = self.condition(batch)
        return {"x": x, "time": schedule.time_input(t).detach().float(), **condition}

    def facts(self) -> dict[str, Any]:
        """What the served code must know."""
        classes = self.view.classes.get("label", ())
        facts = network_facts(self.conditions, self.view.image_size, self.view.channels, len(classes))
        network = {"class": type(self.model.network).__name__}
        return {
            "image_size": self.view.image_size,
            "channels": self.view.channels,
            "classes": list(classes),
            "noise": self.settings.noise.model_dump(),
            "target": self.settings.target,
            "conditions": self.conditions.model_dump(),
            "network": network | {"options": facts | self.options.options},
            "captions": caption_options(self.conditions.text),
        }

    @staticmethod
    def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
        """The bound, sheets of samples, and what a linked classifier, or Inception's published weights, say of them."""
        from components.families.diffusion.evaluation import add_inception, report

        found = report(served, splits["main"], settings.evaluate, links.get("classifier"))
        if "inception" in links:
            add_inception(found, served, splits["main"], settings.evaluate, links["inception"])
        return found


def network_facts(conditions: Conditions, image_size: int, channels: int, classes: int) -> dict[str, Any]:
    """What follows from the data and the conditions: the U-Net's arguments without a default."""
    return {
        "image_size": image_size,
        "channels": channels,
        "num_classes": classes if conditions.label else None,
        "text_width": conditions.text.width if conditions.text else None,
        "low_resolution": conditions.low_resolution is not None,
    }


def caption_options(text: TextSettings | None) -> dict[str, int] | None:
    """The caption transformer's arguments, or None without a text."""
    return None if text is None else text.model_dump(exclude={"template"}) | {"num_tokens": NUM_TOKENS}


def start_from(model: ConditionalModel, artifact: Artifact) -> None:
    """Load the linked weights: another run of this recipe, or a published checkpoint of the network."""
    state = artifact.state_dict()
    own = {name.removeprefix("model."): w for name, w in state.items() if name.startswith("model.")}
    network: Any = model.network
    try:
        if own:
            load_fitting(model, own)
        for note in [] if own else network.load_published(state):
            print(f"init: {note}")  # noqa: T201
    except ValueError as error:
        raise ValueError(f"link init ({artifact.path}): {error}") from None
