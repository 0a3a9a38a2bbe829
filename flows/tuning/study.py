"""Optuna's study of a sweep: its storage, its key, its sampler."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.tuning.space import Dimension, with_values, with_view_values
from flows.tuning.trial_folder import sweep_folder

if TYPE_CHECKING:
    from optuna import Study, Trial

    from flows.tuning.sweep import Objective, Sweep

JOURNAL = "optuna.journal"
STARTUP = 8  # trials at random before the sampler learns from results
PRUNER_STARTUP = 4  # whole trials before one is stopped early


def open_study(sweep: Sweep, space: tuple[Dimension, ...], objective: Objective) -> Study:
    """Open the study of this search: of these settings, data and code. An edit of one of them begins another study."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = sweep_folder(sweep.workspace, sweep.run)
    folder.mkdir(parents=True, exist_ok=True)
    drop_partial_line(folder / JOURNAL)
    path = str(folder / JOURNAL)
    (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)  # of a killed sweep: the workspace's lock is held
    storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNER_STARTUP) if sweep.prunes else optuna.pruners.NopPruner()
    name = study_key(sweep, space, objective)
    study = optuna.create_study(
        storage=storage, study_name=name, direction=StudyDirection[objective.direction], pruner=pruner, load_if_exists=True
    )
    return study


def drop_partial_line(path: Path) -> None:
    """Remove the end of a line that a killed process has left in the journal."""
    if path.is_file() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def study_key(sweep: Sweep, space: tuple[Dimension, ...], objective: Objective) -> str:
    """Hash what makes two trials comparable: settings without the searched ones, data, code, search block, seed."""
    from components.stages.code.stage import digests_of

    block = sweep.project.params.runs[sweep.run]
    first = {dimension.setting: dimension.extremes()[0] for dimension in space}  # the same, whatever the run has now
    key = f"runs.{sweep.run}.search"
    fixed = with_values({"model": block.model, "train": block.train}, first)
    policy = with_view_values(sweep.project.params.views[block.view], first, key).get("augment")
    view = json.loads((sweep.project.folder / "outputs" / "views" / block.view / "view.json").read_text(encoding="utf-8"))
    content = [
        sweep.seed,
        [block.recipe, block.view, fixed, view["digest"], policy],
        block.search,
        [objective.name, objective.better],
        digests_of(sweep.workspace, "train", sweep.run),
    ]
    content += [sweep.sampler] if sweep.sampler != "tpe" else []
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def sampler(sweep: Sweep, space: tuple[Dimension, ...], number: int) -> Any:
    """Return the sampler of a trial, seeded by its number: it draws the same after an interruption."""
    if sweep.sampler == "greedy":
        from flows.tuning.greedy import GreedySampler

        return GreedySampler(space, number)
    from optuna.samplers import TPESampler

    seed = int.from_bytes(hashlib.sha256(f"{sweep.seed}:{number}".encode()).digest()[:4], "big")
    return TPESampler(seed=seed, n_startup_trials=STARTUP)


def unfinished(study: Study) -> list[Trial]:
    """Return the trials that a killed sweep has left running."""
    from optuna.trial import Trial, TrialState

    return [Trial(study, trial._trial_id) for trial in study.get_trials(states=[TrialState.RUNNING], deepcopy=False)]
