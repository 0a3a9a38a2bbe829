"""The result of a sweep: a table, a picture, and the best settings as YAML or written into params.yaml."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from components.core.files import write_atomically
from flows.tuning.space import VIEW, Dimension, Values, transform_index, with_values
from flows.yaml_edit import set_value

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

ROWS = 10  # trials in the printed table
TABLE, PICTURE = "trials.csv", "sweep.png"


def values_of(trial: FrozenTrial, space: Sequence[Dimension]) -> Values:
    """Return setting -> value of a trial."""
    return {dimension.setting: dimension.value(trial.params[dimension.setting]) for dimension in space}


def ranked(study: Study) -> list[FrozenTrial]:
    """Return the completed trials, the best first; of equal ones the earlier."""
    from optuna.trial import TrialState

    sign = 1 if study.direction.name == "MINIMIZE" else -1
    complete = study.get_trials(states=[TrialState.COMPLETE], deepcopy=False)
    return sorted(complete, key=lambda trial: (sign * float(trial.value or 0.0), trial.number))


def rows(study: Study, space: Sequence[Dimension], figure: str) -> list[dict[str, Any]]:
    """Return a row per trial, the completed ones first, in the order of their figure."""
    best = ranked(study)
    rest = [trial for trial in study.trials if trial.number not in {trial.number for trial in best}]
    return [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            figure: trial.value if trial.value is not None else "",
            **(values_of(trial, space) if len(trial.params) == len(space) else {}),
            "failure": trial.user_attrs.get("failure", ""),
        }
        for trial in [*best, *rest]
    ]


def write_table(path: Path, table: Sequence[dict[str, Any]]) -> None:
    """Write the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(path, text.getvalue().encode())


def draw(path: Path, study: Study, space: Sequence[Dimension], figure: str) -> None:
    """Draw the figure over trials, with the best so far, and over each searched setting."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    trials = sorted(ranked(study), key=lambda trial: trial.number)
    numbers, values = [trial.number for trial in trials], [float(trial.value or 0.0) for trial in trials]
    best = min if study.direction.name == "MINIMIZE" else max
    columns = min(4, len(space) + 1)
    lines = -(-(len(space) + 1) // columns)
    picture = Figure(figsize=(3.6 * columns, 3.0 * lines), dpi=110, layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(lines, columns, squeeze=False).ravel()
    axes[0].plot(numbers, values, "o", markersize=4, color="#4477aa")
    axes[0].step(numbers, [best(values[: index + 1]) for index in range(len(values))], where="post", color="#cc6677")
    axes[0].set(xlabel="trial", ylabel=figure, title="line: the best so far")
    for axis, dimension in zip(axes[1:], space, strict=False):
        drawn = [values_of(trial, space)[dimension.setting] for trial in trials]
        if dimension.range is None:
            names = [str(choice) for choice in dimension.choices]
            axis.plot([names.index(str(value)) for value in drawn], values, "o", markersize=4, color="#4477aa")
            axis.set_xticks(range(len(names)), names)
            axis.margins(x=0.2)
        else:
            axis.plot(drawn, values, "o", markersize=4, color="#4477aa")
            axis.set_xscale("log" if dimension.range.log else "linear")
        axis.set(xlabel=dimension.setting, ylabel=figure)
    for axis in axes[len(space) + 1 :]:
        axis.set_axis_off()
    buffer = io.BytesIO()
    picture.savefig(buffer, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def as_yaml(run: str, view: str, values: Values) -> str:
    """Format the settings as the lines of params.yaml that they replace."""
    own = {setting: value for setting, value in values.items() if not setting.startswith(f"{VIEW}.")}
    text = io.StringIO()
    if own:
        YAML().dump({"runs": {run: with_values({"model": {}, "train": {}}, own)}}, text)
    shown = text.getvalue().replace("    model: {}\n", "").replace("    train: {}\n", "")
    for setting in (setting for setting in values if setting not in own):
        _, name, argument = setting.split(".")
        shown += f"views:\n  {view}:\n    augment:\n    - {name}: {{{argument}: {json.dumps(values[setting])}}}\n"
    return shown


def applied(text: str, run: str, view: str, values: Values) -> str:
    """Return the text of params.yaml with the settings; every other line, comments and order stay."""
    for setting, value in values.items():
        block, *names, last = setting.split(".")
        path: list[str | int] = ["runs", run, block, *names]
        if block == VIEW:
            raw = YAML(typ="safe", pure=True).load(text)["views"][view]
            path = ["views", view, "augment", transform_index(raw, names[0], f"runs.{run}.search"), names[0]]
        elif names and not isinstance(_block(text, run, block).get(names[0]), dict):
            text = set_value(text, path[:-1], names[0], json.dumps({last: value}))  # the run has no such block yet
            continue
        text = set_value(text, path, last, json.dumps(value))  # JSON is YAML
    return text


def _block(text: str, run: str, name: str) -> dict[str, Any]:
    block: dict[str, Any] = YAML(typ="safe", pure=True).load(text)["runs"][run][name]
    return block
