"""Milliseconds of a training step: the loop's update against the same network in a bare loop, both compiled, in one precision.

The bare loop is what one would write for the network alone: forward, loss, backward, optimizer. Ours adds what the house
promises: seeded draws, the finite check, averages of the weights, learning rates, curves.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

ROUNDS, STEPS, WARM_UP = 7, 5, 3  # turns of both; steps a turn; steps that compile


@dataclass(frozen=True)
class Case:
    """A recipe at a useful size; ``kind``: which bare loop is its counterpart."""

    kind: str
    recipe: str
    model: dict[str, Any]
    size: int
    batch_size: int
    train: dict[str, Any]
    classes: int = 10


ADAMW = {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05}
CASES = {
    "ViT-S/16": Case("classifier", "classification", {"name": "vit", "variant": "S", "patch": 16}, 224, 128, ADAMW, 1000),
    "ResNet-18": Case("classifier", "classification", {"name": "resnet", "variant": 18}, 224, 256, ADAMW, 1000),
    "Swin-T": Case("classifier", "classification", {"name": "swin", "variant": "T"}, 224, 128, ADAMW, 1000),
    "U-Net": Case("diffusion", "diffusion", {"name": "unet", "width": 128}, 64, 64, {"learning_rate": 1e-4}),
    "MUNIT": Case("munit", "munit", {"name": "munit"}, 128, 4, {}, 2),
}
SMALL_VIT = {"name": "vit", "patch": 4, "width": 8, "depth": 1, "heads": 2}
SMALL_UNET = {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1, "groups": 4}
SMALL_MUNIT = {"name": "munit", "width": 4, "downsamplings": 1, "blocks": 1, "mlp_width": 8}
TINY = {
    "ViT-S/16": Case("classifier", "classification", SMALL_VIT, 8, 4, ADAMW),
    "U-Net": Case("diffusion", "diffusion", SMALL_UNET, 8, 2, {}),
    "MUNIT": Case("munit", "munit", SMALL_MUNIT, 16, 4, {"discriminator": {"width": 4}}, 2),
}


def time_step(case: Case, device: torch.device, *, compiled: bool = True, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return ``bare_ms``, ``ours_ms`` and ``ratio`` (bare / ours, above 1 ours is faster), medians over turns."""
    from components.core.runtime import multiplies_bf16
    from components.stages.train.state import TrainingState

    recipe = make_recipe(case).to(device=device, memory_format=torch.channels_last).train()
    other = copy.deepcopy(recipe)
    state = TrainingState(recipe, recipe.settings, device)
    if compiled:
        for network in (*recipe.children(), *other.children()):
            network.compile()
    precision = "bf16" if multiplies_bf16(device) else "fp32"
    ours = our_step(state, make_batch(case, device), precision)
    bare = bare_step(case.kind, other, make_batch(case, device), device, precision)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for turn in range(rounds + 1):
        for name, step in (("bare", bare), ("ours", ours)):
            seconds = timed(step, WARM_UP if turn == 0 else STEPS, device)
            if turn:
                times[name].append(seconds)
    first, second = (median(times[name]) for name in ("bare", "ours"))
    figures = {"bare_ms": round(first * 1e3, 3), "ours_ms": round(second * 1e3, 3), "ratio": round(first / second, 4)}
    return figures | {"batch": case.batch_size, "size": case.size, "precision": precision, "memory_mb": peak_memory(device)}


def timed(step: Callable[[int], object], count: int, device: torch.device) -> float:
    """Return the seconds of one step, over ``count`` steps, until the device has done them."""
    synchronise(device)
    start = time.perf_counter()
    for number in range(count):
        step(number)
    synchronise(device)
    return (time.perf_counter() - start) / count


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int | None:
    """Return the most megabytes that were allocated on a GPU."""
    return round(torch.cuda.max_memory_allocated(device) / 1e6) if device.type == "cuda" else None


def make_recipe(case: Case) -> Any:
    """Build the case's recipe with random weights."""
    from components.core import catalogue
    from components.core.batch import ViewFacts
    from components.core.config.run import parse_model, parse_train
    from components.core.settings import RunSettings

    column = "domain" if case.recipe == "munit" else "label"
    names = {column: tuple(f"c{index}" for index in range(case.classes))}
    view = ViewFacts("view", case.size, 3, names, (0.0,) * 3, (1.0,) * 3, {"train": 2}, "")
    block = {"seed": 0, "threads": 1, "steps": 1000, "batch_size": case.batch_size} | case.train
    recipe: Any = catalogue.load("recipe", case.recipe, "recipe")
    train = parse_train(recipe, block, "train")
    settings = RunSettings("gpu", case.recipe, "view", parse_model(case.model, "model"), train, None, None)
    torch.manual_seed(0)
    return recipe.build(settings, {"main": view}, {})


def make_batch(case: Case, device: torch.device) -> dict[str, torch.Tensor]:
    """Noise as the loader gives it, uint8 [N, H, W, C], pinned if the device is a GPU, with classes in turns."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (case.batch_size, case.size, case.size, 3), dtype=torch.uint8, generator=generator)
    batch = {"image": image, "domain" if case.recipe == "munit" else "label": torch.arange(case.batch_size) % case.classes}
    return {name: tensor.pin_memory() if device.type == "cuda" else tensor for name, tensor in batch.items()}


def our_step(state: Any, batch: dict[str, torch.Tensor], precision: str) -> Callable[[int], object]:
    """Return the loop's update, from the pinned batch on."""
    from components.core.step import finite_check
    from components.stages.views.loader import to_device

    (role,) = state.recipe.streams()

    def step(number: int) -> None:
        with finite_check() as finite:  # as in the loop: read after some steps, not at each
            finite.step = number
            state.update({role: to_device(batch, state.device)}, number, precision)

    return step


def bare_step(
    kind: str, recipe: Any, batch: dict[str, torch.Tensor], device: torch.device, precision: str
) -> Callable[[int], object]:
    """Return the bare loop's step of the same network."""
    make = {"classifier": bare_classifier, "diffusion": bare_diffusion, "munit": bare_munit}[kind]
    update = make(recipe)

    def step(number: int) -> None:
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        moved["image"] = moved["image"].permute(0, 3, 1, 2).float().div(127.5).sub(1)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            update(moved, number)

    return step


def bare_classifier(recipe: Any) -> Callable[[dict[str, torch.Tensor], int], None]:
    """Cross-entropy and a fused AdamW."""
    optimizer = torch.optim.AdamW(recipe.classifier.parameters(), lr=1e-3, fused=True)

    def update(batch: dict[str, torch.Tensor], number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(recipe.classifier(batch["image"])[0].float(), batch["label"]).backward()
        optimizer.step()

    return update


def bare_diffusion(recipe: Any) -> Callable[[dict[str, torch.Tensor], int], None]:
    """The loss of DDPM (Ho et al. 2020, eq. 14) at random times."""
    (optimizer,) = recipe.optimizers.values()
    num_steps, schedule = recipe.settings.noise.num_steps, recipe.model.schedule

    def update(batch: dict[str, torch.Tensor], number: int) -> None:
        from components.diffusion.objective import times_of

        x0 = batch["image"]
        t = times_of(torch.rand(len(x0), device=x0.device), num_steps, schedule.start)
        optimizer.zero_grad(set_to_none=True)
        recipe.losses(x0, t, {}, lambda use: torch.randn_like(x0)).mean().backward()
        optimizer.step()

    return update


def bare_munit(recipe: Any) -> Callable[[dict[str, torch.Tensor], int], None]:
    """The paper's two updates without sharing, of `make bench`."""
    from bench.munit import plain_step

    return lambda batch, number: plain_step(recipe, {"train": batch}, number)
