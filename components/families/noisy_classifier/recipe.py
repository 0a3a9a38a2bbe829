"""ADM's noise-aware classifier, for guidance: x_t and time -> class (Dhariwal & Nichol 2021, arXiv 2105.05233); AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts, to_pixels
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import BatchSize, Direction, Exportable, Graph, Published, Schedule
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.diffusion.objective import diffuse, times_of
from components.diffusion.schedules import make_schedule

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class NoiseSettings(Strict):
    """The noise of the diffusion run to be guided; for one with ``vdm_learned`` this is ``vdm_fixed``."""

    schedule: Literal["linear", "cosine", "vdm_fixed"] = Field(description="log SNR over time")
    num_steps: int | None = Field(ge=1, le=100_000, description="T, or null for continuous time")


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block; defaults are those of the published classifiers (guided-diffusion's README)."""

    batch_size: BatchSize = Field(default=256, description="guided-diffusion: --batch_size 256")
    learning_rate: float = Field(default=3e-4, gt=0, description="of AdamW, at the top of the schedule (--lr 3e-4)")
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW (--weight_decay 0.05)")
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the global gradient norm (none)")
    schedule: Schedule = Field(default="linear", description="to 0 (--anneal_lr True)")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="of the moving average (none)")
    noise: NoiseSettings = Field(
        default=NoiseSettings(schedule="linear", num_steps=1000), description="--noise_schedule linear --diffusion_steps 1000"
    )

    @model_validator(mode="after")
    def _has_a_schedule(self) -> TrainSettings:
        make_schedule(self.noise.schedule, self.noise.num_steps)
        return self


class Timed(nn.Module):
    """x_t [N, C, H, W], time input [N] -> (logits [N, K], features [N, F])."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.features(image, time)
        return self.network.head(features), features.to(torch.promote_types(features.dtype, torch.float32))


class NoisyClassifier(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    validation: ClassVar[Mapping[str, Direction]] = {"negative_log_likelihood": "min", "accuracy": "max"}
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]

    def __init__(self, settings: RunSettings, view: ViewFacts, network: Any):
        super().__init__()
        self.options, self.settings, self.seed, self.view = settings.model, settings.train, settings.train.seed, view
        self.classifier = Timed(network)
        self.schedule = make_schedule(self.settings.noise.schedule, self.settings.noise.num_steps)
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        self.optimizers = {"network": AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)}
        self.averaged = {"classifier": self.classifier}
        self.published = {"init": network}
        self.prefers_fp32 = bool(network.prefers_fp32)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Require a time-conditioned network."""
        if settings.model.name != "unet_classifier":
            raise ValueError(f"model.name: {settings.model.name!r} is not told the time; allowed: unet_classifier")

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> NoisyClassifier:
        """Build the classifier of the view's classes."""
        view = views["main"]
        return cls(settings, view, catalogue.build_network(settings.model, network_facts(view)))

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        x0, label = batches["train"]["image"], batches["train"]["label"]
        numbers: dict[str, Any] = {"seed": self.seed, "step": step, "device": x0.device}
        uniform = draw((x0.shape[0],), use="time", kind="even", **numbers)
        logits = self.noisy_logits(x0, uniform, draw(tuple(x0.shape), use="eps", **numbers))
        loss = F.cross_entropy(logits, label)
        optimize(loss, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        return {"loss": loss, "accuracy": (logits.argmax(1) == label).float().mean()}

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Negative log-likelihood in nats and accuracy, [N] each, at times spread over the batch, as in training."""
        x0, label = batches["train"]["image"], batches["train"]["label"]
        logits = self.noisy_logits(x0, (torch.arange(len(x0), device=x0.device) + 0.5) / len(x0), torch.randn_like(x0))
        surprise = F.cross_entropy(logits.float(), label, reduction="none")
        return {"negative_log_likelihood": surprise, "accuracy": (logits.argmax(1) == label).float()}

    def noisy_logits(self, x0: Tensor, uniform: Tensor, eps: Tensor) -> Tensor:
        """Return the logits of x_t with the noise ``eps``, at the times of the numbers ``uniform`` [N] in [0, 1)."""
        t = times_of(uniform, self.settings.noise.num_steps, self.schedule.start)
        x = diffuse(x0, eps, self.schedule.log_snr(t))
        logits: Tensor = self.classifier(x, self.schedule.time_input(t).to(x))[0]
        return logits

    def exportable(self) -> Exportable:
        size, channels = self.view.image_size, self.view.channels
        network = {"class": type(self.classifier.network).__name__}
        return Exportable(
            graphs={"model": Graph(self.classifier, self.graph_inputs, ("logits", "features"))},
            facts={
                "image_size": size,
                "channels": channels,
                "classes": list(self.view.classes["label"]),
                "noise": self.settings.noise.model_dump(),
                "network": network | {"options": network_facts(self.view) | self.options.options},
            },
            signature={
                "inputs": [{"name": "image", "dtype": "uint8", "shape": [-1, size, size, channels]}],
                "outputs": [
                    {"name": "label", "dtype": "int64", "shape": [-1]},
                    {"name": "probability", "dtype": "float32", "shape": [-1]},
                    {"name": "class_name", "dtype": "str", "shape": [-1]},
                ],
                "params": [],
            },
            example=lambda batch: {"image": to_pixels(batch["image"])},
            weights=dict(self.classifier.network.state_dict()),
        )

    def graph_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """x_t of real images at times from early to late, and the time input."""
        x0 = batch["image"]
        count = x0.shape[0]
        t = times_of((torch.arange(count) + 0.5) / count, self.settings.noise.num_steps, self.schedule.start)
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(count))
        return {"image": diffuse(x0, eps, self.schedule.log_snr(t)), "time": self.schedule.time_input(t).float()}


def network_facts(view: ViewFacts) -> dict[str, int]:
    """Arguments of the network that follow from the data."""
    return {"image_size": view.image_size, "channels": view.channels, "num_classes": len(view.classes_to_tell_apart())}
