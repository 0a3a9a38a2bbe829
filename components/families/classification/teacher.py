"""A frozen classifier that a student learns from, rebuilt from the weights of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from components.core.artifact import Artifact
from components.core.batch import ViewFacts
from components.core.weights.trained import TrainedClassifier

KEY = "train.distill"


@dataclass
class Teacher:
    """A frozen classifier. It is no module of the recipe: neither weights.pt nor a checkpoint holds it.

    ``precision``: "fp32", "bf16", or None for that of the training;
    ``mean`` and ``std`` [1, C, 1, 1]: its own standardisation; ``order``: the student's classes among the teacher's.
    """

    network: nn.Module
    mean: Tensor
    std: Tensor
    order: Tensor
    precision: str | None = None

    @classmethod
    def read(cls, link: Artifact, view: ViewFacts, column: str = "label", precision: str | None = None) -> Teacher:
        """Build the network of a linked run's weights.pt, whose classes are those of ``column``.

        ValueError if it has other classes than the view, or cannot take its pictures.
        """
        trained = TrainedClassifier.read(link, KEY, column)
        order = class_order(trained.classes, view.classes[column])
        check_channels(trained.channels, view)
        teacher = cls(trained.network(), trained.mean, trained.std, torch.tensor(order), precision)
        check_size(teacher, trained.image_size, view)
        return teacher

    def __call__(self, image: Tensor) -> Tensor:
        """image [N, C, H, W] in [-1, 1] -> logits [N, K], in the order of the student's classes."""
        self.move(image)
        with torch.no_grad(), self.arithmetic(image.device.type):
            logits: Tensor = self.network((image - self.mean) / self.std)[0]
        return logits[:, self.order]

    def arithmetic(self, device: str) -> AbstractContextManager[Any]:
        """Return autocast to the teacher's own precision; no change without one."""
        if self.precision is None:
            return nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def move(self, image: Tensor) -> None:
        """Take the device and the type of ``image``, in channels_last as the student."""
        if (self.mean.device, self.mean.dtype) != (image.device, image.dtype):
            self.network.to(device=image.device, dtype=image.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.mean, self.std = self.mean.to(image), self.std.to(image)
            self.order = self.order.to(image.device)

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know of it."""
        permuted = self.order.tolist() != list(range(len(self.order)))
        return ("teacher: its classes stand in another order; they are matched by their names",) if permuted else ()


def class_order(teacher: tuple[str, ...], student: tuple[str, ...]) -> list[int]:
    """Return the teacher's index of each class of the student. ValueError unless both have the same names."""
    if sorted(teacher) != sorted(student):
        missing, left = [n for n in student if n not in teacher], [n for n in teacher if n not in student]
        parts = [f"{words} {', '.join(some[:5])}{', ...' * (len(some) > 5)}" for words, some in
                 (("it lacks", missing), ("the view lacks its", left)) if some]  # fmt: skip
        raise ValueError(f"{KEY}: the teacher has other classes than the view: {'; '.join(parts)}")
    return [list(teacher).index(name) for name in student]


def check_channels(channels: int, view: ViewFacts) -> None:
    """Raise ValueError if the teacher takes pictures of other channels."""
    if channels != view.channels:
        raise ValueError(f"{KEY}: the teacher takes {channels} channel(s), view {view.name!r} has {view.channels}")


def check_size(teacher: Teacher, own: Any, view: ViewFacts) -> None:
    """Raise ValueError if the teacher, trained on pictures of size ``own``, cannot take those of the view."""
    if own == view.image_size:
        return
    try:
        teacher(torch.zeros(1, view.channels, view.height, view.width))
    except (ValueError, RuntimeError, AssertionError):
        fault = f"the teacher takes pictures of {own} pixels alone, view {view.name!r} has {view.image_size}"
        raise ValueError(f"{KEY}: {fault}") from None
