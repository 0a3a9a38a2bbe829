"""One setting after the other, as PaddleClas' ``search_strategy.py`` (SHAS) does for PULC: keep the best value, go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

from components.core.config.strict import SettingsError
from flows.tuning.space import Dimension

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Choice = tuple[int, ...]  # the index of each setting's value


def check_lists(space: Sequence[Dimension], key: str) -> None:
    """Raise SettingsError for a range, which has no values to be tried one by one."""
    for dimension in space:
        if dimension.range is not None:
            raise SettingsError(f"{key}.{dimension.setting}: a range is not allowed with --sampler greedy; list the values")


def next_choice(lengths: Sequence[int], scores: Mapping[Choice, float]) -> Choice | None:
    """Return what is tried next; None if all is known. ``scores``: of the choices tried so far, the higher the better.

    It starts from the first value of every setting, and tries the values of one setting after the other, the others as they
    are best so far. Of equal ones the earlier value stays. A choice that was tried before is not tried again.
    """
    best: Choice = (0,) * len(lengths)
    for place, length in enumerate(lengths):
        line = [(*best[:place], value, *best[place + 1 :]) for value in range(length)]
        untried = next((choice for choice in line if choice not in scores), None)
        if untried is not None:
            return untried
        best = max(line, key=lambda choice: scores[choice])
    return None


def scores_of(study: Study, space: Sequence[Dimension], before: int) -> dict[Choice, float]:
    """Return the scores of the trials before the number ``before``; one that failed is the worst."""
    sign = -1 if study.direction.name == "MINIMIZE" else 1
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.number < before]
    return {
        tuple(trial.params[dimension.setting] for dimension in space): -float("inf")
        if trial.value is None
        else sign * float(trial.value)
        for trial in trials
        if len(trial.params) == len(space)
    }


class GreedySampler(BaseSampler):
    """Optuna's sampler of ``next_choice`` for the trial of one number."""

    def __init__(self, space: Sequence[Dimension], number: int):
        self.space, self.number = space, number

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> int:
        choice = next_choice([len(d.choices) for d in self.space], scores_of(study, self.space, self.number))
        assert choice is not None, "a trial after the last"
        return choice[[dimension.setting for dimension in self.space].index(param_name)]
