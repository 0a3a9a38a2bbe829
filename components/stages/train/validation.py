"""The validation curve: figures of the averaged weights on the validation split, and the choice of weights that follows it.

A curve only observes: weights, averages, batches and random numbers of a training are the same bits with and without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from torch import Tensor

from components.core.batch import Batch, Stream
from components.core.recipe import Direction, Recipe, Validated
from components.core.runtime import Precision, mix
from components.core.step import processes
from components.stages.train.average import Averages
from components.stages.train.processes import from_rank_0
from components.stages.train.settings import LoopSettings
from components.stages.views.loader import to_device
from components.stages.views.view import View

SPLIT = "validation"
POINTS = 20  # of a curve whose interval is not set
MAX_SHARE = 0.2  # its validated images as a share of the trained ones; an update costs about three times a validation
MAX_BATCH = 256  # images


def labelled_stream(recipe: Any) -> tuple[str, Stream]:
    """Return the role and stream that ``validate`` reads: of ``validation_streams`` if the recipe has it, else its only one."""
    streams = recipe.validation_streams() if hasattr(recipe, "validation_streams") else recipe.streams()
    ((role, stream),) = streams.items()
    return role, stream


class Validation:
    """Measures a recipe on the validation split of its labelled stream's view, in order and without augmentation."""

    def __init__(
        self,
        recipe: Validated,
        views: Mapping[str, View],
        settings: LoopSettings,
        *,
        device: torch.device,
        precision: Precision,
    ):
        self.role, self.stream = labelled_stream(recipe)
        self.recipe, self.settings, self.device, self.precision = recipe, settings, device, precision
        self.view = views[self.stream.view]
        self.every = settings.validate_every or self.interval()

    @classmethod
    def of(cls, recipe: Recipe, views: Mapping[str, View], settings: LoopSettings, **place: Any) -> Self | None:
        """Return the validation of this training; None if it has none. ``place``: device and precision."""
        if settings.validate_every == 0 or not hasattr(recipe, "validate"):
            return None
        validation = cls(cast("Validated", recipe), views, settings, **place)
        return validation if validation.images else None

    @property
    def images(self) -> int:
        """Number of images of the split."""
        return self.view.facts.counts.get(SPLIT, 0)

    def interval(self) -> int:
        """Return the number of updates between ``POINTS`` points, or fewer if they would cost more than ``MAX_SHARE``."""
        steps, world = self.settings.steps, processes()[1]
        affordable = MAX_SHARE * steps * self.stream.batch_size / max(1, self.images * world)
        return math.ceil(steps / max(1, min(POINTS, int(affordable))))

    def due(self, done: int) -> bool:
        """Whether the curve has a point after ``done`` updates; it always has one after the last."""
        return done % self.every == 0 or done == self.settings.steps

    def measure(self, averages: Averages) -> dict[str, float]:
        """Return each figure's mean over the split as "validation.<name>", for the averaged weights in eval mode.

        Rank 0 measures, since its buffers are those that are saved; every process must call this and receives the result.
        """
        return dict(from_rank_0(self._measure(averages) if processes()[0] == 0 else None))

    def _measure(self, averages: Averages) -> dict[str, float]:
        device, values = self.device, dict[str, list[Tensor]]()
        with averages.swapped_in(), eval_mode(self.recipe), restored_randomness(device), torch.no_grad():
            for index, batch in enumerate(self._batches()):
                # The same random numbers at every point: the curve is smooth.
                torch.manual_seed(mix(self.settings.seed, "validation", index))
                with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
                    figures = self.recipe.validate({self.role: to_device(batch, device)})
                for name, figure in figures.items():
                    values.setdefault(f"{SPLIT}.{name}", []).append(figure.double())
        numbers = {name: torch.cat(figures).tolist() for name, figures in values.items()}
        return {name: math.fsum(figures) / len(figures) for name, figures in numbers.items()}

    def _batches(self) -> Iterator[Batch]:
        columns = dict.fromkeys([*self.view.split(SPLIT).keys[1:], *self.stream.columns])
        return self.view.batches(SPLIT, min(self.stream.batch_size, MAX_BATCH), [*columns], pixels=True)


class Selection:
    """Follows one validation figure: keeps the best weights for ``select: best``, and tells when ``patience`` has run out.

    ``best``: the figure's best value and the update after which it was measured; the earlier one of two equal values.
    """

    def __init__(self, metric: str, direction: Direction, settings: LoopSettings):
        self.metric, self.direction, self.settings = f"{SPLIT}.{metric}", direction, settings
        self.best: tuple[int, float] | None = None
        self.weights: dict[str, Tensor] | None = None
        self.since = 0  # validations after the best

    @classmethod
    def of(cls, recipe: Recipe, settings: LoopSettings) -> Self | None:
        """Return the selection of a training whose saved weights follow its validation curve, else None."""
        if not settings.follows_validation:
            return None
        figures = cast("Validated", recipe).validation
        metric = settings.select_metric or next(iter(figures))
        return cls(metric, figures[metric], settings)

    @property
    def exhausted(self) -> bool:
        """Whether the last ``patience`` validations were no better than one before them."""
        return self.settings.patience is not None and self.since >= self.settings.patience

    def follow(self, step: int, figures: Mapping[str, float], recipe: Recipe, averages: Averages) -> None:
        """Compare the figures after ``step`` updates with the best. A figure that is not finite is no improvement."""
        value = figures[self.metric]
        sign = 1 if self.direction == "max" else -1
        if not math.isfinite(value) or (self.best is not None and sign * value <= sign * self.best[1]):
            self.since += 1
            return
        self.best, self.since = (step, value), 0
        if self.settings.select == "best":
            with averages.swapped_in():
                self.weights = {name: tensor.clone() for name, tensor in recipe.state_dict().items()}

    def restore(self, recipe: Recipe) -> int | None:
        """Load the best weights if ``select`` is "best", and return the update that they are of."""
        if self.settings.select == "last":
            return None
        if self.best is None or self.weights is None:
            raise ValueError(f"select: best is not possible: {self.metric} was never finite")
        recipe.load_state_dict(self.weights)
        return self.best[0]

    def state_dict(self) -> dict[str, Any]:
        """Return the selection's part of a checkpoint."""
        return {"best": self.best, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the selection from ``state_dict``."""
        self.best, self.since, self.weights = state["best"], state["since"], state["weights"]


def check_validation(recipe: Any, settings: LoopSettings, key: str) -> None:
    """Raise ValueError for settings of a curve that ``recipe``, a class, does not have. ``key``: path of the train block."""
    given: dict[str, Any] = {"validate_every": settings.validate_every, "patience": settings.patience}
    given |= {"select": "best"} if settings.select == "best" else {}
    wanted = next((f"{key}.{name}: {value}" for name, value in given.items() if value), None)
    figures = getattr(recipe, "validation", {})
    if wanted and not figures:
        raise ValueError(f"{wanted} is not allowed: {recipe.__name__} has no validation figures")
    if settings.batch_norm == "reestimated" and not figures:
        raise ValueError(f"{key}.batch_norm: reestimated is not allowed: {recipe.__name__} has no forward pass for it")
    if settings.select_metric is not None and settings.select_metric not in figures:
        choices = ", ".join(figures)
        raise ValueError(f"{key}.select_metric: {settings.select_metric!r} is not allowed; allowed: {choices}")


@contextmanager
def eval_mode(recipe: Recipe) -> Iterator[None]:
    """Put every module in eval mode inside the block, and back in its own mode after it."""
    modes = {module: module.training for _, module in recipe.named_modules()}
    recipe.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def restored_randomness(device: torch.device) -> Iterator[None]:
    """Restore torch's global random state after the block, on the CPU and on ``device``."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
