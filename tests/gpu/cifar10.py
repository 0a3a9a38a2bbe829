"""CIFAR-10 to 94 %: the task of airbench (K. Jordan 2024, arXiv 2404.00498), by our ResNet-18, recipe and update.

The images lie on the device and are flipped and shifted there; 18 epochs of SGD with Nesterov's momentum, label smoothing and a
linear schedule. Without a mirror of CIFAR-10 the images are drawn: then the seconds count, and the accuracy says only that it
learns.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TARGET, SHIFT, CLASSES = 0.94, 4, 10


@dataclass(frozen=True)
class Task:
    """Sizes of the training; ``images``: of each split if they are drawn."""

    width: int = 64
    epochs: int = 18
    batch_size: int = 512
    learning_rate: float = 0.4
    images: tuple[int, int] = (50_000, 10_000)


TINY = Task(width=8, epochs=3, batch_size=16, learning_rate=0.1, images=(192, 64))


def load(folder: Path | None, images: tuple[int, int]) -> tuple[str, list[Tensor]]:
    """Return ("cifar10" or "synthetic", [train images uint8 [N, 32, 32, 3], labels int64 [N], test images, labels])."""
    from components.stages.fetch.cifar10 import FOLDER, IMAGES, MD5, RECORD

    place = folder / FOLDER if folder else None
    if place is None or not all((place / name).is_file() for name in MD5):
        return "synthetic", [*drawn(images[0], 0), *drawn(images[1], 1)]
    raw = []
    for name, sum_ in MD5.items():
        data = (place / name).read_bytes()
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != sum_:
            raise ValueError(f"{place / name}: not CIFAR-10's published bytes")
        raw.append(torch.frombuffer(bytearray(data), dtype=torch.uint8).view(IMAGES, RECORD))
    parts = [torch.cat(raw[:5]), raw[5]]
    return "cifar10", [
        tensor for part in parts for tensor in (part[:, 1:].view(-1, 3, 32, 32).permute(0, 2, 3, 1), part[:, 0].long())
    ]


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw images of ten classes: a smooth pattern of the class under noise."""
    generator = torch.Generator().manual_seed(100 + seed)
    patterns = torch.rand((CLASSES, 3, 4, 4), generator=torch.Generator().manual_seed(7))
    smooth = torch.nn.functional.interpolate(patterns, size=32, mode="bilinear").permute(0, 2, 3, 1)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    noise = torch.rand((count, 32, 32, 3), generator=generator)
    return (255 * (0.6 * smooth[labels] + 0.4 * noise)).to(torch.uint8), labels


def augmented(images: Tensor, labels: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
    """Yield one epoch of whole batches, each image flipped by chance and shifted by up to ``SHIFT`` pixels, edges reflected."""
    padded = torch.nn.functional.pad(images.permute(0, 3, 1, 2).float(), (SHIFT,) * 4, "reflect")
    padded = padded.to(torch.uint8).permute(0, 2, 3, 1)
    device, pixels = images.device, torch.arange(32, device=images.device)
    order = torch.randperm(len(images), generator=generator)
    for rows in order[: len(order) // batch_size * batch_size].split(batch_size):
        top, left = torch.randint(0, 2 * SHIFT + 1, (2, len(rows)), generator=generator).to(device)
        flip = (torch.rand(len(rows), generator=generator) < 0.5).to(device)[:, None]
        y = top[:, None] + pixels
        x = left[:, None] + torch.where(flip, pixels.flip(0), pixels)
        chosen = rows.to(device)
        yield {"image": padded[chosen[:, None, None], y[:, :, None], x[:, None, :]], "label": labels[chosen]}


def train(task: Task, device: torch.device, *, compiled: bool = True, folder: Path | None = None) -> dict[str, Any]:
    """Train; return the data's name, seconds of the training (compilation apart), accuracy after each epoch, and the target."""
    from components.core.runtime import multiplies_bf16
    from components.core.step import finite_check
    from components.stages.train.state import TrainingState
    from components.stages.views.loader import to_device

    mirror = folder or (Path(os.environ["DATA_MIRROR"]) if os.environ.get("DATA_MIRROR") else None)
    name, (images, labels, test_images, test_labels) = load(mirror, task.images)
    images, labels, test_images, test_labels = (tensor.to(device) for tensor in (images, labels, test_images, test_labels))
    steps = len(images) // task.batch_size * task.epochs
    recipe = make_recipe(task, steps).to(device=device, memory_format=torch.channels_last).train()
    if compiled:
        recipe.classifier.compile()
    state, generator = TrainingState(recipe, recipe.settings, device), torch.Generator().manual_seed(0)
    precision = "bf16" if multiplies_bf16(device) else "fp32"
    step, seconds, first, curve = 0, 0.0, 0.0, []
    with finite_check() as finite:
        for _ in range(task.epochs):
            start = time.perf_counter()
            for batch in augmented(images, labels, task.batch_size, generator):
                began = time.perf_counter()
                finite.step = step
                state.update({"train": to_device(batch, device)}, step, precision)
                if step == 0:
                    synchronise(device)
                    first = time.perf_counter() - began  # compiles
                step += 1
            synchronise(device)
            seconds += time.perf_counter() - start
            finite.read()
            curve.append(accuracy(recipe, test_images, test_labels, precision))
    return {
        "data": name,
        "seconds": round(seconds - first, 3),
        "compilation_s": round(first, 3),
        "accuracy": curve[-1],
        "accuracies": curve,
        "reached": None if name == "synthetic" else curve[-1] >= TARGET,
        "epochs": task.epochs,
        "precision": precision,
    }


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_recipe(task: Task, steps: int) -> Any:
    """Build the classifier."""
    from gpu.training_step import Case
    from gpu.training_step import make_recipe as build

    train = {
        "optimizer": "sgd",
        "learning_rate": task.learning_rate,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "schedule": "linear",
        "steps": steps,
        "warmup": steps // 5,
    }
    model = {"name": "resnet18", "width": task.width}
    return build(Case("classifier", "classification", model, 32, task.batch_size, train))


@torch.no_grad()
def accuracy(recipe: Any, images: Tensor, labels: Tensor, precision: str) -> float:
    """Return the share of right images, each seen once."""
    recipe.eval()
    right = 0
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        for image, label in zip(images.split(1000), labels.split(1000), strict=True):
            logits = recipe.classifier(image.permute(0, 3, 1, 2).float().div(127.5).sub(1))[0]
            right += int((logits.argmax(1) == label).sum())
    recipe.train()
    return right / len(images)
