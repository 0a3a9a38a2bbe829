"""The mutable state of a training: weights, optimizers, averages, curves, and the choice of the weights that are saved."""

from __future__ import annotations

import sys
from typing import Any

import torch

from components.core.batch import Batch, check
from components.core.recipe import Recipe
from components.core.runtime import mix
from components.core.step import FiniteCheck, processes
from components.stages.train.average import Averages
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.curves import Curves
from components.stages.train.processes import anyone, from_rank_0
from components.stages.train.schedule import learning_rate_scale
from components.stages.train.settings import LoopSettings
from components.stages.train.validation import Selection, Validation


class TrainingState:
    """Everything that a checkpoint holds."""

    def __init__(self, recipe: Recipe, settings: LoopSettings, device: torch.device):
        self.recipe, self.settings, self.device = recipe, settings, device
        self.averages = Averages(recipe.averaged, settings.ema_decay, ramp_up=settings.ema_ramp_up)
        self.curves = Curves()
        self.selection = Selection.of(recipe, settings)
        self.figures: dict[str, float] = {}  # of a validation that is in no point yet
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

    @property
    def exhausted(self) -> bool:
        """Whether the training stops early."""
        return self.selection is not None and self.selection.exhausted

    def validate(self, done: int, validation: Validation) -> None:
        """Measure the averaged weights after ``done`` updates, and let the selection follow."""
        self.figures = validation.measure(self.averages)
        if self.selection is not None:
            self.selection.follow(done, self.figures, self.recipe, self.averages)

    def point(self, done: int, *, whole: bool) -> dict[str, float]:
        """Add a point to the curves and return it: the validation's figures, with ``whole`` all means since the last one."""
        figures, self.figures = self.figures, {}
        if not whole:
            self.curves.add_point(done, figures)
            return figures
        rate = max(group["lr"] for o in self.recipe.optimizers.values() for group in o.param_groups)
        return self.curves.close(done, learning_rate=rate, **figures)

    def save(self, step: int, checkpoints: Checkpoints | None, finite: FiniteCheck) -> None:
        """Write a checkpoint after ``step`` updates unless a loss was not finite; all processes wait for it."""
        finite.read()
        state = self.state_dict()
        if checkpoints:
            checkpoints.save(step, state)
        anyone(False)

    def finish(self) -> None:
        """Replace the live weights by those to be saved: the averages, or the weights of the best validation."""
        self.averages.swap_in()
        if self.selection is not None:
            self.curves.selected = self.selection.restore(self.recipe)

    def state_dict(self) -> dict[str, Any]:
        """Return the content of a checkpoint. All processes must call it."""
        selection = {} if self.selection is None else {"selection": self.selection.state_dict()}
        return selection | {
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
        if self.selection is not None:
            self.selection.load_state_dict(state["selection"])
        if checkpoints:
            print(f"resuming from the checkpoint at step {step}", file=sys.stderr)
        return int(step)
