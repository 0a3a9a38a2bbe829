"""The training loop of all recipes: batches, precision, schedule, averages, checkpoints and curves around ``training_step``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from tqdm import tqdm

from components.core.batch import Batch, check, to_unit_range
from components.core.recipe import Recipe, Schedule
from components.core.runtime import Precision, mix
from components.core.step import FiniteCheck, finite_check, processes
from components.core.strict import Strict
from components.stages.train.average import Averages
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.curves import Curves
from components.stages.train.processes import anyone, digest, from_rank_0, require_same
from components.stages.train.schedule import learning_rate_scale
from components.stages.views.loader import training_batches
from components.stages.views.view import View

Log = Callable[[int, Mapping[str, float]], None]


class LoopSettings(Strict):
    """The loop's part of a run's ``train`` block. The recipe adds its own keys, and its paper's defaults for these."""

    renamed: ClassVar[dict[str, str]] = {"average_decay": "ema_decay"}

    seed: int = Field(ge=0, lt=2**31, description="of initial weights, order, augmentation and noise")
    threads: int = Field(ge=1, le=256, description="CPU threads of a process; bits of the result depend on it")
    processes: int = Field(default=1, ge=1, le=4096, description="that share each batch; bits of the result depend on it")
    precision: Literal["fp32", "bf16", "auto"]
    steps: int = Field(ge=1, description="updates, the only unit of training time")
    warmup: int = Field(default=0, ge=0, description="updates of linear learning-rate warm-up")
    schedule: Schedule = "cosine"
    schedule_steps: int | None = Field(default=None, ge=1, description="updates until schedule step halves the learning rate")
    constant_fraction: float = Field(default=0.5, ge=0, lt=1, description="of the updates, before constant_linear falls")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="of the moving average of weights; null: none")
    ema_ramp_up: bool = Field(default=False, description="ema_decay is at most (1 + step) / (10 + step)")
    workers: int = Field(default=0, ge=0, le=64, description="processes that prepare batches; the result does not depend on it")
    compile: bool = Field(default=False, description="torch.compile the networks")
    checkpoint_every: int = Field(default=500, ge=1, description="updates")
    log_every: int = Field(default=20, ge=1, description="updates")

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        given = self.model_fields_set
        if self.warmup > self.steps:
            raise ValueError(f"warmup: {self.warmup} is not allowed: at most steps, {self.steps}")
        if self.schedule == "step" and self.schedule_steps is None:
            raise ValueError("schedule_steps: missing; schedule step needs it")
        for key, schedule in (("schedule_steps", "step"), ("constant_fraction", "constant_linear")):
            if key in given and self.schedule != schedule:
                raise ValueError(f"{key}: not allowed with schedule {self.schedule}; it belongs to {schedule}")
        if self.ema_ramp_up and "ema_ramp_up" in given and self.ema_decay is None:
            raise ValueError("ema_ramp_up: true is not allowed without ema_decay")
        return self


class Stopped(Exception):
    """SIGTERM was received; the checkpoint at ``step`` is complete."""

    def __init__(self, step: int):
        super().__init__(f"stopped by SIGTERM, checkpoint at step {step}")


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
    """Train ``recipe`` in place from its last checkpoint (or step 0) to ``settings.steps``; it ends with the averaged weights.

    On a CPU in fp32 the result does not depend on interruptions: batches, augmentation, noise and dropout are functions of the
    step. ``checkpoints``: on rank 0; None on all other processes. Raises NonFiniteLoss with the step and the terms, and Stopped
    after SIGTERM, on all processes at the same step.
    """
    recipe.to(device=device, memory_format=torch.channels_last).train()
    state = TrainingState(recipe, settings, device)
    start = state.restore(checkpoints)
    if processes()[1] > 1:
        require_same("initial weights", digest(recipe.state_dict()))
    if settings.compile:
        for network in recipe.children():
            network.compile()
    feeds = open_feeds(recipe, views, settings, start)
    with progress(settings, start) as bar, closing_all(feeds), termination() as terminated, finite_check() as finite:
        for step in range(start, settings.steps):
            finite.step, done = step, step + 1
            state.update({role: to_device(next(feed), device) for role, feed in feeds.items()}, step, precision)
            stop = anyone(terminated())
            if done % settings.log_every == 0 or done == settings.steps:
                state.log(done, bar, log, finite)
            if stop or (done % settings.checkpoint_every == 0 and done < settings.steps):
                state.save(done, checkpoints, finite)
            bar.update()
            if stop:
                raise Stopped(done)
    state.averages.swap_in()
    return state.curves


class TrainingState:
    """The mutable state of a training: weights, optimizers, averages, curves."""

    def __init__(self, recipe: Recipe, settings: LoopSettings, device: torch.device):
        self.recipe, self.settings, self.device = recipe, settings, device
        self.averages = Averages(recipe.averaged, settings.ema_decay, ramp_up=settings.ema_ramp_up)
        self.curves = Curves()
        self.rates = {name: [group["lr"] for group in o.param_groups] for name, o in recipe.optimizers.items()}

    def update(self, batches: dict[str, Batch], step: int, precision: str) -> None:
        """Run one ``training_step`` at its learning rate, with dropout seeded by (seed, step)."""
        if step == 0:
            streams = self.recipe.streams()
            for role, batch in batches.items():
                check(batch, streams[role].columns)
        self.scale_learning_rates(step)
        torch.manual_seed(mix(self.settings.seed, "step", step, processes()[0]))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            scalars = self.recipe.training_step(batches, step)
        self.averages.update(step)
        self.curves.add(scalars)

    def scale_learning_rates(self, step: int) -> None:
        """Set the learning rate of every group to its base rate times the schedule's factor at ``step``."""
        s = self.settings
        scale = learning_rate_scale(
            step,
            steps=s.steps,
            warmup=s.warmup,
            schedule=s.schedule,
            schedule_steps=s.schedule_steps,
            constant_fraction=s.constant_fraction,
        )
        for name, optimizer in self.recipe.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * scale

    def log(self, step: int, bar: tqdm[Any], log: Log, finite: FiniteCheck) -> None:
        """Add a point to the curves, show it in the progress bar, and log it."""
        finite.read()
        rate = max(group["lr"] for o in self.recipe.optimizers.values() for group in o.param_groups)
        point = self.curves.close(step, learning_rate=rate)
        bar.set_postfix({name: f"{value:.4g}" for name, value in point.items()}, refresh=False)
        log(step, point)

    def save(self, step: int, checkpoints: Checkpoints | None, finite: FiniteCheck) -> None:
        """Write a checkpoint after ``step`` updates unless a loss was not finite; all processes wait for it."""
        finite.read()
        state = self.state_dict()
        if checkpoints:
            checkpoints.save(step, state)
        anyone(False)

    def state_dict(self) -> dict[str, Any]:
        """Return the content of a checkpoint. All processes must call it."""
        return {
            "recipe": self.recipe.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.recipe.optimizers.items()},
            "averages": self.averages.state_dict(),
            "curves": self.curves.state_dict(),
        }

    def restore(self, checkpoints: Checkpoints | None) -> int:
        """Load the newest checkpoint, read by rank 0 for all processes; return its number of updates."""
        checkpoint = from_rank_0(checkpoints.latest() if checkpoints else None)
        if checkpoint is None:
            return 0
        step, state = checkpoint
        self.recipe.load_state_dict(state["recipe"])
        for name, optimizer in self.recipe.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.averages.load_state_dict(state["averages"])
        self.curves.load_state_dict(state["curves"], self.device)
        if checkpoints:
            print(f"resuming from the checkpoint at step {step}", file=sys.stderr)
        return int(step)


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


def progress(settings: LoopSettings, start: int) -> tqdm[Any]:
    """Create the progress bar, which only rank 0 shows."""
    options = {"unit": "step", "file": sys.stderr, "mininterval": 1.0, "dynamic_ncols": True}
    return tqdm(total=settings.steps, initial=start, disable=processes()[0] > 0, **options)


@contextmanager
def closing_all(feeds: Mapping[str, Any]) -> Iterator[None]:
    """Close every feed and its workers, even if the block or another feed's ``close`` raises."""
    with ExitStack() as stack:
        for feed in feeds.values():
            stack.callback(feed.close)
        yield


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Copy the batch to ``device`` as uint8, and convert its image there to float32 [N, C, H, W] in [-1, 1]."""
    result = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    result["image"] = to_unit_range(result["image"])
    return result


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
