"""A classifier of noised images, for guidance: x_t and its time -> class (Dhariwal & Nichol 2021, arXiv 2105.05233); AdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from components.core.batch import Batch, Split, Stream, ViewFacts, to_pixels
from components.core.recipe import Exportable, Graph, Metric, Report
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.core.strict import Strict, resolve
from components.diffusion.making import make_schedule
from components.diffusion.objective import diffuse, times_of
from components.networks import MODELS

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class NoiseSettings(Strict):
    """That of the diffusion run that is to be guided. A run with ``vdm_learned`` takes a classifier with ``vdm_fixed``."""

    schedule: Literal["linear", "cosine", "vdm_fixed"]
    num_steps: int | None = Field(ge=1, le=100_000, description="T, or null for continuous time")


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block."""

    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="AdamW's, at the top of the schedule")
    weight_decay: float = Field(default=0.05, ge=0)
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the global gradient norm")
    noise: NoiseSettings

    @model_validator(mode="after")
    def _has_a_schedule(self) -> TrainSettings:
        make_schedule(self.noise.schedule, self.noise.num_steps)
        return self


class NoSettings(Strict):
    """Nothing to say."""


class EvaluateSettings(Strict):
    """``split``: the images that are scored, at ``levels`` times from data to noise, each with noise drawn from ``seed``."""

    split: Literal["train", "validation", "test"] = "test"
    levels: int = Field(default=10, ge=2, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**31)


class Timed(nn.Module):
    """x_t [N, C, H, W], time input [N] -> (logits [N, K], features [N, F])."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.features(image, time)
        return self.network.head(features), features.float()


class NoisyClassifier(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train, Export, Evaluate = TrainSettings, NoSettings, EvaluateSettings
    detects = False
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]

    def __init__(self, settings: RunSettings, view: ViewFacts, network: Any):
        super().__init__()
        self.options, self.settings, self.seed, self.view = settings.model, settings.train, settings.train.seed, view
        self.classifier = Timed(network)
        self.schedule = make_schedule(self.settings.noise.schedule, self.settings.noise.num_steps)
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        self.optimizers = {"network": AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)}
        self.averaged = {"classifier": self.classifier}
        self.prefers_fp32 = bool(network.prefers_fp32)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError for a network that is told no time."""
        if settings.model.name != "unet_classifier":
            raise ValueError(f"model.name: {settings.model.name!r} is not told the time; allowed: unet_classifier")

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> NoisyClassifier:
        """The classifier of the view's classes, from published or own weights where a link ``init`` is."""
        view = views["main"]
        classes = view.classes.get("label", ())
        if len(classes) < 2:
            raise ValueError(f"view {view.name!r} has {len(classes)} class(es) {list(classes)}; a classifier needs at least 2")
        network = resolve(MODELS, settings.model.name, "model.name")(**network_facts(view), **settings.model.options)
        if "init" in links:
            start_from(network, links["init"])
        return cls(settings, view, network)

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        x0, label = batches["train"]["image"], batches["train"]["label"]
        numbers: dict[str, Any] = {"seed": self.seed, "step": step, "device": x0.device}
        uniform = draw((x0.shape[0],), use="time", kind="even", **numbers)
        t = times_of(uniform, self.settings.noise.num_steps, self.schedule.start)
        x = diffuse(x0, draw(tuple(x0.shape), use="eps", **numbers), self.schedule.log_snr(t))
        logits, _ = self.classifier(x, self.schedule.time_input(t).to(x))
        loss = F.cross_entropy(logits.float(), label)
        optimize(loss, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        return {"loss": loss, "accuracy": (logits.argmax(1) == label).float().mean()}

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
        """Real images at times from early to late, really noised, and the time input."""
        x0 = batch["image"]
        count = x0.shape[0]
        t = times_of((torch.arange(count) + 0.5) / count, self.settings.noise.num_steps, self.schedule.start)
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(count))
        return {"image": diffuse(x0, eps, self.schedule.log_snr(t)), "time": self.schedule.time_input(t).float()}

    @staticmethod
    def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
        """Accuracy of the clean images (as they are served) and by time; the paired figure is the former."""
        asked, split = settings.evaluate, splits["main"]
        batches = [(to_pixels(batch["image"]), batch["label"].numpy()) for batch in split]
        label = np.concatenate([label for _, label in batches])
        times = np.linspace(0, 1, asked.levels)
        rows, clean = [], recognised(served, batches, 0.0, None)
        for i, t in enumerate(times):
            right = recognised(served, batches, float(t), asked.seed + i)
            rows.append({"time": float(t), "log_snr": served.log_snr(float(t)), "accuracy": float(right.mean())})
        metrics = {
            "accuracy": Metric(float(clean.mean()), "max"),
            "accuracy_over_time": Metric(float(np.mean([row["accuracy"] for row in rows])), "max"),
        }
        names = split.facts.classes["label"]
        return Report(metrics, {"noise_levels": rows}, {}, {"accuracy": clean}, label, tuple(names))


def recognised(served: Any, batches: Any, t: float, seed: int | None) -> np.ndarray:
    """float64 [N]: whether each image is recognised at time t, with noise of ``seed``; None: as it is served, without."""
    right = []
    for i, (pixels, label) in enumerate(batches):
        scores = served.scores(pixels) if seed is None else served.noisy_scores(pixels, t, (seed, i))
        right.append(scores["logits"].argmax(1) == label)
    return np.concatenate(right).astype(np.float64)


def network_facts(view: ViewFacts) -> dict[str, int]:
    """The network's arguments that follow from the data."""
    return {"image_size": view.image_size, "channels": view.channels, "num_classes": len(view.classes["label"])}


def start_from(network: Any, artifact: Artifact) -> None:
    """Load the linked weights: a published checkpoint of this network, or another run of this recipe."""
    state = artifact.state_dict()
    own = {name.removeprefix("classifier.network."): w for name, w in state.items() if name.startswith("classifier.network.")}
    try:
        for note in network.load_published(own or state):
            print(f"init: {note}")  # noqa: T201
    except ValueError as error:
        raise ValueError(f"link init ({artifact.path}): {error}") from None
