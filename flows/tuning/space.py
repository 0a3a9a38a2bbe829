"""The ``search`` block of a run: which settings a sweep tries, and in what range."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from components.core.config.params import Params
from components.core.config.strict import SettingsError, Strict, parse

if TYPE_CHECKING:
    from optuna.trial import Trial

BLOCKS = ("model", "train")  # of the run: what a training reads; the pictures are the same in all trials
VIEW = "view"  # before the name of a transform in ``augment`` of the run's view, and an argument of it: view.RandAugment.p
FIXED = ("train.seed", "train.threads", "train.processes", "train.workers", "train.checkpoint_every", "train.log_every")
EXAMPLE = "search: {train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}, train.weight_decay: [0.0, 0.05]}"

Values = dict[str, Any]  # setting, "train.learning_rate", -> value


class Range(Strict):
    """Numbers from ``low`` to ``high``, both included; whole numbers if both are. ``step``: their distance, from ``low`` on."""

    low: int | float
    high: int | float
    step: int | float | None = Field(default=None, gt=0)
    log: bool = Field(default=False, description="draw the logarithm uniformly, as for a learning rate")

    @model_validator(mode="after")
    def _agrees(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low, {self.low}, must be less than high, {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0, and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)


@dataclass(frozen=True)
class Dimension:
    """One searched setting: a range, or a list of ``choices``."""

    setting: str
    range: Range | None
    choices: tuple[Any, ...] = ()

    def draw(self, trial: Trial) -> Any:
        """Draw a value by the trial's sampler."""
        if self.range is None:
            # By index: a choice may be a list, of strides for example, and Optuna stores plain values only.
            return self.choices[trial.suggest_categorical(self.setting, range(len(self.choices)))]
        low, high, step, log = self.range.low, self.range.high, self.range.step, self.range.log
        if self.range.whole:
            return trial.suggest_int(self.setting, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(self.setting, low, high, step=step, log=log)

    def value(self, drawn: Any) -> Any:
        """Return the setting's value for what Optuna stores."""
        return self.choices[drawn] if self.range is None else drawn

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that must be valid for all others to be: both ends, or every choice."""
        return self.choices if self.range is None else (self.range.low, self.range.high)


def read_space(params: Params, run: str) -> tuple[Dimension, ...]:
    """Parse the run's ``search`` block. SettingsError for a setting that is not in the run, or cannot be searched."""
    key, block = f"runs.{run}.search", params.runs[run].search
    if not block:
        raise SettingsError(f"{key}: missing; it says what a sweep tries, for example\n  {EXAMPLE}")
    return tuple(_dimension(setting, entry, f"{key}.{setting}") for setting, entry in block.items())


def _dimension(setting: str, entry: Any, key: str) -> Dimension:
    block, *names = setting.split(".")
    sound = len(names) == 2 if block == VIEW else block in BLOCKS and len(names) in (1, 2)
    if not sound or not all(names) or setting in FIXED:
        allowed = f"settings of {' and '.join(BLOCKS)}, written {BLOCKS[0]}.<setting>, but {', '.join(FIXED)}"
        allowed += (
            f"; settings of their blocks, train.<block>.<setting>; arguments of the view's transforms, {VIEW}.<Name>.<argument>"
        )
        raise SettingsError(f"{key}: {setting!r} cannot be searched; allowed are {allowed}")
    if isinstance(entry, list):
        if len(entry) < 2 or any(entry.count(choice) > 1 for choice in entry):
            raise SettingsError(f"{key}: {entry!r} is not allowed: at least two different choices are expected")
        return Dimension(setting, None, tuple(entry))
    if not isinstance(entry, dict):
        raise SettingsError(f"{key}: {entry!r} is not allowed: a list of choices, or low and high, are expected")
    return Dimension(setting, parse(Range, entry, key))


def with_values(run: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Return the run's block with the values in place; those of its view are in ``with_view_values``."""
    changed = copy.deepcopy(dict(run))
    for setting, value in values.items():
        block, *names, last = setting.split(".")
        if block != VIEW:
            place = changed[block]
            for name in names:
                place[name] = place.get(name) or {}  # a block that is left out, or null
                place = place[name]
            place[last] = value
    return changed


def with_view_values(view: Mapping[str, Any], values: Values, key: str) -> dict[str, Any]:
    """Return the view's block with the values of its transforms in place. SettingsError for one that it does not have."""
    changed = copy.deepcopy(dict(view))
    for setting, value in values.items():
        block, *names = setting.split(".")
        if block == VIEW:
            index = transform_index(view, names[0], key)
            changed["augment"][index] = {names[0]: {**(changed["augment"][index][names[0]] or {}), names[1]: value}}
    return changed


def transform_index(view: Mapping[str, Any], name: str, key: str) -> int:
    """Return the place of the transform in ``augment``. SettingsError unless the view has it, once."""
    names = [next(iter(item)) for item in view.get("augment") or ()]
    if names.count(name) != 1:
        listed = ", ".join(names) or "none"
        raise SettingsError(f"{key}: {name!r} must be in the view's augment once; its transforms: {listed}")
    return names.index(name)
