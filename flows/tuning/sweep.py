"""Search for better settings of a run: trials by Optuna, each a training in its own folder, judged by its validation curve.

Every draw is a function of (sweep's seed, trial's number, earlier results), and a trial that was killed goes on from its
checkpoint with the values that it had: a sweep that is stopped and started again ends as an undisturbed one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.core.config.strict import SettingsError, parse, read_yaml
from components.core.settings import PARAMS, Workspace, parse_model
from flows.processes import FlowStopped, Processes, StageFailed
from flows.project import Project, for_children
from flows.tuning.greedy import check_lists, next_choice, scores_of
from flows.tuning.space import VIEW, Dimension, Values, read_space, with_values, with_view_values
from flows.tuning.study import open_study, sampler, unfinished
from flows.tuning.trial_folder import remove_trial, trial_workspace

if TYPE_CHECKING:
    from optuna import Study, Trial

MARK = "point: "  # before a point of a curve in a trial's output
HANGS = 86400.0  # seconds until a trial counts as hanging

Print = Callable[[str], None]


@dataclass(frozen=True)
class Objective:
    """The figure of the validation curve that decides, ``validation.<name>``, and its direction."""

    name: str
    better: str

    @property
    def column(self) -> str:
        """Its key in a point of the curves."""
        return f"validation.{self.name}"

    @property
    def direction(self) -> str:
        """Its direction in Optuna's words."""
        return "MAXIMIZE" if self.better == "max" else "MINIMIZE"


@dataclass(frozen=True)
class Sweep:
    """A sweep of a run: ``trials`` in all, drawn with ``seed``; ``prune``: stop trials that are worse than the median.

    ``sampler``: "tpe", or "greedy", which needs no seed and compares whole trainings.
    """

    project: Project
    run: str
    trials: int
    seed: int
    prune: bool = True
    objective: str | None = None
    sampler: str = "tpe"

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        return self.prune and self.sampler != "greedy"

    @property
    def workspace(self) -> Workspace:
        """The project's workspace."""
        return self.project.workspace


@dataclass(frozen=True)
class Search:
    """A sweep at work: its study, what is searched, and by which figure."""

    sweep: Sweep
    study: Study
    space: tuple[Dimension, ...]
    objective: Objective
    show: Print


def search(sweep: Sweep, show: Print) -> Search:
    """Make the data current, and run trials until there are ``sweep.trials``. SettingsError for an invalid search block."""
    import optuna

    space = read_space(sweep.project.params, sweep.run)
    objective = find_objective(sweep.workspace, sweep.run, sweep.objective)
    if sweep.sampler == "greedy":
        check_lists(space, f"runs.{sweep.run}.search")
    check_extremes(sweep, space)
    make_inputs(sweep)
    study = open_study(sweep, space, objective)
    work = Search(sweep, study, space, objective, show)
    for trial in unfinished(study):
        show(f"trial {trial.number}: goes on")
        finish(work, trial)
    while len(study.trials) < sweep.trials and not (sweep.sampler == "greedy" and is_done(study, space)):
        study.sampler = sampler(sweep, space, len(study.trials))
        finish(work, study.ask())
    if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE], deepcopy=False):
        raise ValueError("no trial was completed; the first failure is above")
    return work


def is_done(study: Study, space: tuple[Dimension, ...]) -> bool:
    """Return whether a greedy search has tried all that it would."""
    return next_choice([len(d.choices) for d in space], scores_of(study, space, len(study.trials))) is None


def find_objective(workspace: Workspace, run: str, name: str | None) -> Objective:
    """Return the figure to search by: ``name``, the run's ``select_metric``, or the first of its recipe."""
    from components.core import catalogue

    settings = workspace.run(run)
    recipe = catalogue.load("recipe", settings.recipe, f"runs.{run}.recipe")
    figures: dict[str, str] = dict(getattr(recipe, "validation", {}))
    if not figures:
        raise SettingsError(
            f"runs.{run}: a {settings.recipe} run has no validation curve, so nothing says which trial is better"
        )
    name = name or getattr(settings.train, "select_metric", None) or next(iter(figures))
    if name not in figures:
        raise SettingsError(f"--objective: {name!r} is not a validation figure of {settings.recipe}: {', '.join(figures)}")
    return Objective(name, figures[name])


def check_extremes(sweep: Sweep, space: tuple[Dimension, ...]) -> None:
    """Check the smallest, the largest and every listed value of each setting as the run's own are checked."""
    raw = read_yaml(sweep.project.folder / PARAMS)
    for dimension in space:
        for value in dimension.extremes():
            try:
                check_value(sweep, raw, {dimension.setting: value})
            except SettingsError as error:
                raise SettingsError(f"runs.{sweep.run}.search.{dimension.setting}: {value!r}: {error}") from None


def check_value(sweep: Sweep, raw: dict[str, Any], values: Values) -> None:
    """Check one value of a setting in its block."""
    from components.stages.augment.policy.policies import ViewSettings
    from components.stages.augment.policy.validation import validate_policy

    key, run = f"runs.{sweep.run}", raw["runs"][sweep.run]
    block = next(iter(values)).partition(".")[0]
    if block == VIEW:
        name = run["view"]
        settings = parse(ViewSettings, with_view_values(raw["views"][name], values, f"{key}.search"), f"views.{name}")
        if settings.copies:
            raise SettingsError(f"views.{name}.copies: {settings.copies} is not allowed: nothing is drawn at training")
        validate_policy(name, settings)
    elif block == "model":
        parse_model(with_values(run, values)["model"], f"{key}.model")
    else:
        parse(type(sweep.workspace.run(sweep.run).train), with_values(run, values)["train"], f"{key}.train")


def make_inputs(sweep: Sweep) -> None:
    """Run the stale stages that the training depends on, but not the training."""
    from flows.dvc.entries import PROGRAM
    from flows.dvc.index import read_graph

    target = f"train@{sweep.run}"
    graph, reasons, _ = read_graph(sweep.project, [target])
    names = [name for name in graph.order() if name != target]
    if not any(reasons[name] for name in names):
        return
    command = [sys.executable, "-P", str(PROGRAM), "--wait-for-lock", "repro", *names]
    done = subprocess.run(command, cwd=sweep.project.folder, env=for_children(sweep.project), check=False)
    if done.returncode:
        raise ValueError(f"the data of {sweep.run} could not be made; the failure is above")


def finish(work: Search, trial: Trial) -> None:
    """Run one trial to its end, and tell the study: complete, pruned, or failed with its last line."""
    from optuna.trial import TrialState

    study, show = work.study, work.show
    study.sampler = sampler(work.sweep, work.space, trial.number)
    values = {dimension.setting: dimension.draw(trial) for dimension in work.space}
    who = f"trial {trial.number}: " + ", ".join(f"{setting} {shown(value)}" for setting, value in values.items())
    try:
        value = train(work, trial, values)
    except StageFailed as error:
        trial.set_user_attr("failure", str(error))
        study.tell(trial, state=TrialState.FAIL)
        show(f"{who}: failed: {error}")
    else:
        if value is None:
            study.tell(trial, state=TrialState.PRUNED)
            show(f"{who}: stopped early, worse than the median")
        else:
            study.tell(trial, value)
            show(f"{who}: {work.objective.name} {value:.5g}")
    remove_trial(work.sweep.workspace, work.sweep.run, trial.number)


def train(work: Search, trial: Trial, values: Values) -> float | None:
    """Train with the values; return the figure that its weights have, or None if the trial was stopped early.

    With ``select: best`` this is the best of the curve, else the last. StageFailed if the training fails.
    """
    sweep, objective = work.sweep, work.objective
    workspace = trial_workspace(sweep.workspace, sweep.run, trial.number, values)
    processes = Processes()
    curve: dict[int, float] = {}

    def read(line: str) -> None:
        if not line.startswith(MARK):
            return
        point = json.loads(line.removeprefix(MARK))
        if objective.column in point:
            step = int(point["step"])
            curve[step] = float(point[objective.column])
            trial.report(curve[step], step)
            if trial.should_prune():
                processes.stop()

    key = f"{work.study.study_name}-{trial.number}"
    command = [sys.executable, "-m", "components.stages.trial", str(workspace.folder), sweep.run, key, MARK]
    try:
        ended = processes.run(
            command, folder=workspace.folder, env=for_children(sweep.project, TQDM_DISABLE="1"), log=read, timeout=HANGS
        )
    except FlowStopped:
        return None
    if ended.code:
        raise StageFailed(ended.error, ended.tail)
    points = {**work.study.trials[trial.number].intermediate_values, **curve}  # also those from before an interruption
    if not points:
        raise SettingsError(f"runs.{sweep.run}: its training has no validation curve; set train.validate_every")
    best = min if objective.better == "min" else max
    select = getattr(sweep.workspace.run(sweep.run).train, "select", "last")
    return best(points.values()) if select == "best" else points[max(points)]


def shown(value: Any) -> str:
    """Format a value as short as it is exact enough to read."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
