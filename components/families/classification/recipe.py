"""Image classification by any network with ``features`` and ``head``: cross-entropy, AdamW or SGD (Nesterov)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Detection, Direction, Exportable, Graph, Published
from components.core.runtime import mix
from components.core.settings import RunSettings
from components.core.standardise import standardisation
from components.core.step import optimize
from components.families.classification.distillation import Distillation
from components.families.classification.mixing import draw_mixture, erase
from components.families.classification.objective import FIGURES, Objective, classes_of, target_column
from components.families.classification.optimizer import check_layers, make_optimizer
from components.families.classification.settings import ExportSettings, TrainSettings

if TYPE_CHECKING:
    import numpy as np

    from components.core.artifact import Artifact


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

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init", "teacher"), "export": ("detector",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = True
    validation: ClassVar[Mapping[str, Direction]] = FIGURES
    takes_rectangles: ClassVar[bool] = True
    class_column: str
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    prefers_fp32: bool

    def __init__(self, settings: RunSettings, view: ViewFacts, network: nn.Module, distillation: Distillation | None = None):
        super().__init__()
        self.settings: TrainSettings = settings.train
        self.distillation = distillation
        self.notes = distillation.teacher.notes() if distillation else ()
        self.seed, self.view = settings.train.seed, view
        self.classifier = Classifier(network, *standardisation(settings.train.standardise, view))
        self.objective = Objective(settings.train, view)
        self.class_column = self.objective.column
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
        facts = {"image_size": view.image_size, "channels": view.channels, "num_classes": len(classes_of(settings.train, view))}
        network = catalogue.build_network(settings.model, facts)
        column = target_column(settings.train, view)
        return cls(settings, view, network, Distillation.build(settings.train.distill, views, links, column))

    def weigh_classes(self, counts: Callable[[str], np.ndarray]) -> None:
        """Learn the number of training images of each class of a column, float or int64 [K], from the view."""
        self.objective.weigh_classes(counts)

    def streams(self) -> dict[str, Stream]:
        if self.settings.distill and self.distillation is None:
            raise ValueError("train.distill: needs a link of role teacher")
        labelled = self.validation_streams()
        return self.distillation.streams(labelled["train"]) if self.distillation else labelled

    def validation_streams(self) -> dict[str, Stream]:
        settings = self.settings
        stream = Stream(view="main", batch_size=settings.batch_size, sampler=settings.sampler, repeats=settings.repeats)
        return {"train": stream}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        if self.distillation:
            return self.distillation.training_step(self, batches, step)
        batch = self.augmented(batches["train"], step)
        logits, _ = self.classifier(batch["image"])
        loss = self.objective(logits, batch)
        optimize(loss, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        return {"loss": loss, "accuracy": self.objective.right(logits, batch).mean()}

    def augmented(self, batch: Batch, step: int, role: str = "train") -> Batch:
        """The batch of a stream as the network and a teacher see it: its image erased, then mixed, as in timm.

        With ``target``, int64 [N] or float32 [N, K], of the labelled stream "train".
        """
        settings, image, seed = self.settings, batch["image"], mix(self.seed, role)
        target = {"target": self.objective.target(batch)} if role == "train" else {}
        if settings.random_erasing is not None:
            mean, std = self.classifier.mean, self.classifier.std
            image = erase(image, settings.random_erasing, mean, std, seed=seed, step=step)
        if settings.mixing is not None:
            mixture = draw_mixture(settings.mixing, image, seed=seed, step=step)
            image, target = mixture.image(image), {name: mixture.target(value) for name, value in target.items()}
        return {**batch, "image": image, **target}

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Negative log-likelihood in nats, accuracy and, if asked for, top-5 accuracy, [N] each."""
        logits, _ = self.classifier(batches["train"]["image"])
        return self.objective.figures(logits, batches["train"])

    def exportable(self) -> Exportable:
        view, several = self.view, self.objective.several
        return Exportable(
            graphs={"model": Graph(self.classifier, lambda batch: {"image": batch["image"]}, ("logits", "features"))},
            facts={"image_size": view.image_size, "channels": view.channels, "classes": list(self.objective.classes)}
            | ({"multi_label": True} if several else {}),
            signature={
                "inputs": [{"name": "image", "dtype": "uint8", "shape": [-1, view.height, view.width, view.channels]}],
                "outputs": [
                    {"name": "label", "dtype": "int64", "shape": [-1]},
                    {"name": "probability", "dtype": "float32", "shape": [-1]},
                    {"name": "class_name", "dtype": "str", "shape": [-1]},
                    *(
                        [{"name": "probabilities", "dtype": "float32", "shape": [-1, len(self.objective.classes)]}]
                        if several
                        else []
                    ),
                ],
                "params": [],
            },
            example=lambda batch: {"image": pixels_of(batch)},
        )

    def detection(self) -> Detection:
        from components.detectors.shared.protocol import Head

        layer: Any = self.classifier.network.head
        return Detection(self.classifier, Head(layer.weight, layer.bias))
