"""The training loop of all recipes: batches, precision, schedule, averages, checkpoints and curves around ``training_step``."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from tqdm import tqdm

from components.core.batch import Batch
from components.core.recipe import Recipe
from components.core.runtime import Precision
from components.core.step import finite_check, processes
from components.stages.train.batch_norm import reestimate
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.curves import Curves
from components.stages.train.processes import anyone, digest, require_same
from components.stages.train.settings import LoopSettings
from components.stages.train.state import TrainingState
from components.stages.train.validation import Validation
from components.stages.views.loader import to_device, training_batches
from components.stages.views.view import View

Log = Callable[[int, Mapping[str, float]], None]
IMAGES_PER_SECOND = "images_per_second"  # in the log alone: curves.csv holds nothing that a machine decides


class Stopped(Exception):
    """SIGTERM was received; the checkpoint at ``step`` is complete."""

    def __init__(self, step: int):
        super().__init__(f"stopped by SIGTERM, checkpoint at step {step}")
        self.step = step


def train(
    recipe: Recipe,
    views: Mapping[str, View],
    settings: LoopSettings,
    *,
    device: torch.device,
    precision: Precision,
    checkpoints: Checkpoints | None,
    log: Log,
) -> Curves:
    """Train ``recipe`` in place from its last checkpoint (or step 0) to ``settings.steps``, or until its patience has run out.

    It ends with the averaged weights, for ``select: best`` with those of the best validation. On a CPU in fp32 the result does
    not depend on interruptions: batches, augmentation, noise, dropout and validation are functions of the step.
    ``checkpoints``: on rank 0; None on all other processes. Raises NonFiniteLoss with the step and the terms, and Stopped after
    SIGTERM, on all processes at the same step.
    """
    recipe.to(device=device, memory_format=torch.channels_last).train()
    state = TrainingState(recipe, settings, device)
    start = state.restore(checkpoints)
    if processes()[1] > 1:
        require_same("initial weights", digest(recipe.state_dict()))
    if settings.compile:
        for network in recipe.children():
            network.compile()
    validation = Validation.of(recipe, views, settings, device=device, precision=precision)
    feeds, progress = open_feeds(recipe, views, settings, start), Progress(recipe, settings, start, log)
    with progress.bar, closing_all(feeds), termination() as terminated, finite_check() as finite:
        for step in range(start, settings.steps):
            if state.exhausted:  # by the checkpoint that was loaded
                break
            finite.step, done = step, step + 1
            state.update({role: to_device(next(feed), device) for role, feed in feeds.items()}, step, precision)
            stop = anyone(terminated())
            if validation and validation.due(done):
                finite.read()
                state.validate(done, validation)
            last = done == settings.steps or state.exhausted
            if last or done % settings.log_every == 0 or state.figures:
                finite.read()
                progress.show(done, state.point(done, whole=last or done % settings.log_every == 0))
            if stop or (done % settings.checkpoint_every == 0 and not last):
                state.save(done, checkpoints, finite)
            progress.bar.update()
            if stop:
                raise Stopped(done)
            if last:
                break
    state.finish()
    if settings.batch_norm == "reestimated":
        reestimate(recipe, views, settings, device=device, precision=precision)
    return state.curves


def open_feeds(recipe: Recipe, views: Mapping[str, View], settings: LoopSettings, start: int) -> dict[str, Iterator[Batch]]:
    """Open the streams: role -> this process's share of the batches (uint8 images) from update ``start`` on."""
    rank, world = processes()
    feeds = {}
    for role, stream in recipe.streams().items():
        if stream.view not in views:
            raise ValueError(f"stream {role!r} reads the view {stream.view!r}; this run has: {', '.join(sorted(views))}")
        feeds[role] = training_batches(
            views[stream.view],
            stream,
            role=role,
            seed=settings.seed,
            start_step=start,
            steps=settings.steps,
            workers=settings.workers,
            rank=rank,
            world=world,
        )
    return feeds


class Progress:
    """The progress bar, which only rank 0 shows, and the log: every point of the curves, with the images per second."""

    def __init__(self, recipe: Recipe, settings: LoopSettings, start: int, log: Log):
        options = {"unit": "step", "file": sys.stderr, "mininterval": 1.0, "dynamic_ncols": True}
        self.bar: tqdm[Any] = tqdm(total=settings.steps, initial=start, disable=processes()[0] > 0, **options)
        self.log, self.batch_size = log, max(stream.batch_size for stream in recipe.streams().values())
        self.start = (start, time.perf_counter())  # of the current interval
        self.shown: dict[str, str] = {}

    def show(self, step: int, point: Mapping[str, float]) -> None:
        """Log the point after ``step`` updates, and show it."""
        before, since = self.start
        self.start = (step, time.perf_counter())
        speed = (step - before) * self.batch_size / max(self.start[1] - since, 1e-9)
        self.shown |= {name: f"{value:.4g}" for name, value in point.items()} | {"images/s": f"{speed:,.0f}"}
        self.bar.set_postfix(self.shown, refresh=False)
        self.log(step, {**point, IMAGES_PER_SECOND: speed})


@contextmanager
def closing_all(feeds: Mapping[str, Any]) -> Iterator[None]:
    """Close every feed and its workers, even if the block or another feed's ``close`` raises."""
    with ExitStack() as stack:
        for feed in feeds.values():
            stack.callback(feed.close)
        yield


@contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM was received, so that the current step is completed first.

    After the first signal further ones are ignored: a killed parent signals its child once per thread, and a second signal
    would end the process before it has reported.
    """
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if received else before)
