"""``batch_size: auto``: the largest power of two whose training step fits in most of a GPU's memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, cast

import torch

from components.core.artifact import Artifact
from components.core.runtime import Precision, resolve_precision
from components.core.settings import RunSettings
from components.stages.assemble import build_recipe
from components.stages.train.state import TrainingState
from components.stages.views.loader import to_device, training_batches
from components.stages.views.view import View

AUTO = "auto"
SHARE = 0.8  # of the GPU's memory, for the allocations of a step; the allocator's cache and cuDNN need the rest
UPDATES = 2  # the second one has the optimizers' states


def resolve_batch_size(
    settings: RunSettings, views: dict[str, View], links: dict[str, Artifact], device: torch.device
) -> RunSettings:
    """Return the settings with the number that ``batch_size: auto`` stands for on this device; others unchanged.

    The number is the same on every GPU of one kind, since it depends on what a step allocates and on the GPU's size. ValueError
    on a CPU.
    """
    if getattr(settings.train, "batch_size", None) != AUTO:
        return settings
    key = f"runs.{settings.name}.train.batch_size"
    if device.type != "cuda":
        raise ValueError(f"{key}: auto is not allowed without a GPU, whose memory it fills; set a number")
    bound = int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    number = largest_batch(lambda size: peak_memory(settings, views, links, device, size), bound, images(views))
    if number is None:
        raise ValueError(f"{key}: auto found nothing: one image needs more than {bound / 2**30:.1f} GiB")
    return with_batch_size(settings, number)


def largest_batch(peak: Callable[[int], int | None], bound: int, images: int) -> int | None:
    """Return the largest power of two up to ``images`` with ``peak(size)`` <= ``bound`` bytes; None if 1 is too large.

    ``peak`` returns None if the memory does not suffice.
    """
    fitting, size = None, 1
    while size <= images:
        memory = peak(size)
        if memory is None or memory > bound:
            break
        fitting, size = size, 2 * size
    return fitting


def peak_memory(
    settings: RunSettings, views: dict[str, View], links: dict[str, Artifact], device: torch.device, size: int
) -> int | None:
    """Run ``UPDATES`` updates of a fresh recipe; return the largest number of allocated bytes, None if out of memory."""
    torch.cuda.reset_peak_memory_stats(device)
    try:
        run_updates(with_batch_size(settings, size), views, links, device)
        return int(torch.cuda.max_memory_allocated(device))
    except torch.OutOfMemoryError:
        return None
    finally:
        gc.collect()  # a recipe and its optimizers refer to each other
        torch.cuda.empty_cache()


def run_updates(settings: RunSettings, views: dict[str, View], links: dict[str, Artifact], device: torch.device) -> None:
    """Run the first updates of a training, without its checkpoints and curves."""
    recipe = build_recipe(settings, views, links)
    precision: Precision = resolve_precision(settings.train.precision, device, recipe.prefers_fp32)
    recipe.to(device=device, memory_format=torch.channels_last).train()
    state = TrainingState(recipe, settings.train, device)
    steps: dict[str, Any] = {"seed": settings.train.seed, "start_step": 0, "steps": UPDATES, "workers": 0}
    with ExitStack() as stack:
        feeds = {role: training_batches(views[s.view], s, role=role, **steps) for role, s in recipe.streams().items()}
        for feed in feeds.values():
            stack.enter_context(closing(cast("Any", feed)))
        for step in range(UPDATES):
            state.update({role: to_device(next(feed), device) for role, feed in feeds.items()}, step, precision)


def with_batch_size(settings: RunSettings, size: int) -> RunSettings:
    """Return the settings with another ``train.batch_size``; the blocks of other stages stay unparsed."""
    train = settings.train.model_copy(update={"batch_size": size})
    blocks: dict[str, Callable[[], Any]] = {
        block: lambda block=block: getattr(settings, block)  # type: ignore[misc]
        for block in ("model", "export", "evaluate")
    }
    return RunSettings.unparsed(settings.name, settings.recipe, settings.view, {"train": lambda: train, **blocks})


def images(views: dict[str, View]) -> int:
    """Return the number of training images of the main view."""
    return views["main"].facts.counts["train"]
