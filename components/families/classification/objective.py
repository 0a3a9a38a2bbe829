"""What a classifier learns from the ground truth: its targets, its loss, and the figures of its validation curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from components.core.batch import Batch, ViewFacts
from components.core.recipe import Direction
from components.families.classification.losses import balanced_weights, sigmoid_loss, smoothed, softmax_loss, weights_by_name

if TYPE_CHECKING:
    import numpy as np

    from components.families.classification.settings import TrainSettings

FIGURES: Mapping[str, Direction] = {"negative_log_likelihood": "min", "accuracy": "max", "top5_accuracy": "max"}


class Objective(nn.Module):
    """Softmax cross-entropy of ``label``, one class per image, or binary cross-entropy of ``labels``, several."""

    weight: Tensor | None

    def __init__(self, settings: TrainSettings, view: ViewFacts):
        super().__init__()
        self.settings, self.column, self.classes = settings, target_column(settings, view), classes_of(settings, view)
        self.several = self.column == "labels"
        self.top5 = settings.top5 or getattr(settings, "select_metric", None) == "top5_accuracy"
        check_agrees(settings, several=self.several, classes=len(self.classes), top5=self.top5)
        given = settings.class_weights
        self.register_buffer(
            "weight", weights_by_name(given, self.classes) if isinstance(given, dict) else None, persistent=False
        )

    def weigh_classes(self, counts: Callable[[str], np.ndarray]) -> None:
        """Compute the weights of ``class_weights: balanced``. ``counts``: column -> training images of each class, [K]."""
        if self.settings.class_weights == "balanced":
            self.weight = balanced_weights(counts(self.column))

    def target(self, batch: Batch) -> Tensor:
        """What the batch's images are, before they are mixed: int64 [N], or float32 [N, K] if there is anything to mix."""
        target = batch[self.column]
        if self.several or self.settings.mixing is None:
            return target
        return smoothed(target, len(self.classes), self.settings.label_smoothing)

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        """Compute the loss, a scalar in float32, of logits [N, K] against ``target`` of the batch."""
        logits, weight, gamma = logits.float(), self.weight, self.settings.focal_gamma
        assert weight is not None or self.settings.class_weights is None
        if self.several:
            return sigmoid_loss(logits, batch["target"], weight=weight, gamma=gamma)
        return softmax_loss(logits, batch["target"], smoothing=self.settings.label_smoothing, weight=weight, gamma=gamma)

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        """[N]: 1 for the right class, else 0; of several classes the share that is told right at a probability of 0.5."""
        if self.several:
            return ((logits > 0) == (batch["labels"] > 0.5)).float().mean(1)
        return (logits.argmax(1) == batch["label"]).float()

    def figures(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The figures of the validation curve, [N] each; the likelihood is that of all classes together."""
        logits = logits.float()
        if self.several:
            surprise = F.binary_cross_entropy_with_logits(logits, batch["labels"], reduction="none").sum(1)
        else:
            surprise = F.cross_entropy(logits, batch["label"], reduction="none")
        figures = {"negative_log_likelihood": surprise, "accuracy": self.right(logits, batch)}
        if self.top5:
            own = logits.gather(1, batch["label"][:, None])
            figures["top5_accuracy"] = ((logits >= own).sum(1) <= 5).float()  # ties are errors
        return figures


def target_column(settings: TrainSettings, view: ViewFacts) -> str:
    """Return "label" or "labels", by ``target``. ValueError if the view does not have it."""
    if settings.target == "auto":
        return "labels" if "labels" in view.classes and "label" not in view.classes else "label"
    if settings.target not in view.classes:
        raise ValueError(f"train.target: {settings.target} is not allowed: view {view.name!r} has {', '.join(view.classes)}")
    return settings.target


def classes_of(settings: TrainSettings, view: ViewFacts) -> tuple[str, ...]:
    """Return the names of the classes that are learnt; ValueError if there is nothing to tell apart."""
    several = target_column(settings, view) == "labels"
    return view.classes["labels"] if several else view.classes_to_tell_apart()


def check_agrees(settings: TrainSettings, *, several: bool, classes: int, top5: bool) -> None:
    """Raise ValueError for settings that do not fit the view's columns."""
    given = {"label_smoothing": settings.label_smoothing, "sampler": settings.sampler == "balanced", "top5": top5}
    if several and (key := next((name for name, value in given.items() if value), None)):
        raise ValueError(f"train.{key}: {getattr(settings, key)} is not allowed with several classes per image (labels)")
    if top5 and classes <= 5:
        raise ValueError(f"train.top5: it is 1 whatever is predicted, of {classes} classes")
    if settings.mixing is not None and isinstance(settings.batch_size, int) and settings.batch_size % 2:
        raise ValueError(f"train.batch_size: {settings.batch_size} is not allowed with mixing: the number must be even")
