"""Image classification by any network with ``features`` and ``head``: cross-entropy, AdamW or SGD (Nesterov)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import BatchSize, Detection, Direction, Exportable, Graph, Published
from components.core.settings import RunSettings
from components.core.step import optimize
from components.families.classification.optimizer import check_layers, make_optimizer

if TYPE_CHECKING:
    from components.core.artifact import Artifact

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block."""

    named_if_set: ClassVar[tuple[str, ...]] = ("layer_decay",)

    batch_size: BatchSize = Field(default=32, description="images per update; auto: as many as fit in most of a GPU's memory")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or SGD with momentum")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="at the top of the schedule, for the whole batch; sgd has no default: 0.1 is usual"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="of matrices and kernels; none for biases, norms, tokens")
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="factor on the learning rate from each layer to the one below; the head has it all",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="SGD with Nesterov's momentum, or AdamW's beta_1")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target spread over all classes")
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the global gradient norm")
    sampler: Literal["shuffle", "balanced"] = Field(
        default="shuffle", description="every image once an epoch, or every class equally often"
    )
    standardise: Literal["view", "half", "imagenet"] = Field(
        default="view", description="mean and std: of the training images; 0.5 and 0.5 in [0, 1]; ImageNet's"
    )

    @model_validator(mode="after")
    def _has_a_rate(self) -> TrainSettings:
        if self.optimizer == "sgd" and "learning_rate" not in self.model_fields_set:
            raise ValueError("learning_rate: missing; optimizer sgd has no default, 0.1 is usual")
        return self


class ExportSettings(Strict):
    """One graph, ``model``, which a link of role ``detector`` gives an out-of-distribution score."""

    moved: ClassVar[dict[str, str]] = {
        "detector": "name it in `detect.<name>.serve`, and link outputs/detect/<name>/served at stage export as role detector"
    }


class Classifier(nn.Module):
    """image [N, C, H, W] in [-1, 1] -> (logits [N, K], features [N, F]); standardises inside, so that the graph is whole."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Iterable[float], std: Iterable[float]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = self.network((image - self.mean) / self.std)
        return logits, features


class Classification(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",), "export": ("detector",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = True
    validation: ClassVar[Mapping[str, Direction]] = {"negative_log_likelihood": "min", "accuracy": "max"}
    takes_rectangles: ClassVar[bool] = True
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    prefers_fp32: bool

    def __init__(self, settings: RunSettings, view: ViewFacts, network: nn.Module):
        super().__init__()
        self.settings: TrainSettings = settings.train
        self.view = view
        self.classifier = Classifier(network, *standardisation(settings.train.standardise, view))
        self.optimizers = {"network": make_optimizer(network, settings.train)}
        self.averaged = {"classifier": self.classifier}
        self.published = {"init": cast("Published", network)}
        self.prefers_fp32 = bool(getattr(network, "prefers_fp32", False))

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Check that the network has layers, if their learning rates differ."""
        check_layers(settings)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> Classification:
        """The classifier of the view's classes."""
        view = views["main"]
        classes = len(view.classes_to_tell_apart())
        facts = {"image_size": view.image_size, "channels": view.channels, "num_classes": classes}
        return cls(settings, view, catalogue.build_network(settings.model, facts))

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size, sampler=self.settings.sampler)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        batch = batches["train"]
        logits, _ = self.classifier(batch["image"])
        loss = F.cross_entropy(logits.float(), batch["label"], label_smoothing=self.settings.label_smoothing)
        optimize(loss, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch["label"]).float().mean()}

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Negative log-likelihood in nats and accuracy, [N] each."""
        image, label = batches["train"]["image"], batches["train"]["label"]
        logits, _ = self.classifier(image)
        surprise = F.cross_entropy(logits.float(), label, reduction="none")
        return {"negative_log_likelihood": surprise, "accuracy": (logits.argmax(1) == label).float()}

    def exportable(self) -> Exportable:
        view = self.view
        return Exportable(
            graphs={"model": Graph(self.classifier, lambda batch: {"image": batch["image"]}, ("logits", "features"))},
            facts={"image_size": view.image_size, "channels": view.channels, "classes": list(view.classes["label"])},
            signature={
                "inputs": [{"name": "image", "dtype": "uint8", "shape": [-1, view.height, view.width, view.channels]}],
                "outputs": [
                    {"name": "label", "dtype": "int64", "shape": [-1]},
                    {"name": "probability", "dtype": "float32", "shape": [-1]},
                    {"name": "class_name", "dtype": "str", "shape": [-1]},
                ],
                "params": [],
            },
            example=lambda batch: {"image": pixels_of(batch)},
        )

    def detection(self) -> Detection:
        from components.detectors.shared.protocol import Head

        layer: Any = self.classifier.network.head
        return Detection(self.classifier, Head(layer.weight, layer.bias))


def standardisation(which: str, view: ViewFacts) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) a channel in the units of [-1, 1]."""
    if which == "half":
        return (0.0,) * view.channels, (1.0,) * view.channels
    if which == "imagenet":
        if view.channels != 3:
            raise ValueError(f"train.standardise: imagenet is of RGB images, view {view.name!r} has {view.channels} channel(s)")
        return tuple(2 * m - 1 for m in IMAGENET_MEAN), tuple(2 * s for s in IMAGENET_STD)
    return view.mean, view.std
