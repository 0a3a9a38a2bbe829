"""Several models, each a step up from the one before: a metric, its gain, latency and size of each, measured together."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core import settings
from components.core.artifact import content_md5
from components.core.config.strict import SettingsError, must_exist
from components.core.files import write_atomically, write_text
from components.core.recipe import Metric, Report
from components.core.settings import Workspace
from components.registry.latency.table import Cost, notes
from components.registry.promotion.intervals import paired_interval
from components.registry.reports.comparison import CONFIDENCE, reading
from components.stages.evaluate.report.page import FILE, Page, Section, Table, Text
from components.stages.evaluate.report.render import render
from components.stages.evaluate.score import score

TABLE = "ladder.csv"
METHOD = (
    "Each model is scored by its own shipped code on today's pictures. A difference is to the line before, with its paired "
    "interval if both are scored on the same pictures.",
    "Latency is the median of one picture on one thread in ONNX Runtime; all models are measured together, in turns.",
)


@dataclass(frozen=True)
class Step:
    """One model: ``name`` as it was asked for, its report, and a hash of the pictures and labels that it is scored on."""

    name: str
    report: Report
    pictures: str


def step(workspace: Workspace, name: str, export: Path) -> Step:
    """Score the export of ``RUN[:VERSION]`` on one thread."""
    os.environ["DARKROOM_SERVED_THREADS"] = "1"
    run = name.partition(":")[0]
    return Step(name, score(workspace, run, export), pictures_of(workspace, run))


def pictures_of(workspace: Workspace, run: str) -> str:
    """Hash the pictures and labels of the split that the run is scored on."""
    run_settings = workspace.run(run)
    split = getattr(run_settings.evaluate, "split", "test")
    folder = workspace.folder / "outputs" / "views" / run_settings.view
    files = (folder / f"{split}.{name}.npy" for name in ("image", "label"))
    return " ".join(content_md5(file) for file in files if file.is_file())


def rows(steps: Sequence[Step], costs: Mapping[str, Cost], metric: str | None = None) -> list[dict[str, Any]]:
    """Return a row per step: the metric (default: the first of all), its difference to the step before, ms and MB.

    SettingsError for a metric that a step does not have.
    """
    metric = metric or next(iter(steps[0].report.metrics))
    for found in steps:
        must_exist(metric, found.report.metrics, f"--metric of {found.name}")
    previous: list[Step | None] = [None, *steps[:-1]]
    return [_row(metric, before, found, costs[found.name]) for before, found in zip(previous, steps, strict=True)]


def _row(metric: str, before: Step | None, found: Step, cost: Cost) -> dict[str, Any]:
    entry = found.report.metrics[metric]
    row: dict[str, Any] = {"run": found.name, metric: round(entry.value, 6), "difference": "–", "95 % interval": "–"}
    row["reads"] = "–"
    if before is not None:
        row["difference"] = round(entry.value - before.report.metrics[metric].value, 6)
        row |= _interval(metric, entry, before, found)
    row |= {"ms": cost.latency.median_ms, "ms (p99)": cost.latency.p99_ms, "MB": cost.size.megabytes}
    return row | {"weights": cost.size.weights}


def _interval(metric: str, entry: Metric, before: Step, found: Step) -> dict[str, str]:
    """Return the paired interval of the difference; nothing for other pictures, or without a value per picture."""
    old, new = before.report.items.get(metric), found.report.items.get(metric)
    if before.pictures != found.pictures or old is None or new is None or old.shape != new.shape:
        return {}
    low, high = paired_interval(new.astype(np.float64), old.astype(np.float64), CONFIDENCE)
    says = reading((low, high), entry.better).replace("second is better", "better").replace("first is better", "worse")
    return {"95 % interval": f"{low:+.4f} to {high:+.4f}", "reads": says}


def text(table: Sequence[Mapping[str, Any]], costs: Mapping[str, Cost]) -> str:
    """Format the table as plain text, with the machine below it."""
    lines = [list(table[0]), *([_shown(value) for value in row.values()] for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join([*("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines), *notes(costs)])


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)


def write(table: Sequence[Mapping[str, Any]], costs: Mapping[str, Cost]) -> Path:
    """Write ladder.csv and the page to ``.work/reports/compare-<runs>``; return the path of the page."""
    names = [str(row["run"]).replace(":", "-") for row in table]
    folder = settings.WORK / "reports" / f"compare-{'-'.join(names)}"
    folder.mkdir(parents=True, exist_ok=True)
    content = io.StringIO()
    writer = csv.DictWriter(content, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(folder / TABLE, content.getvalue().encode())
    sections = [Section("Steps", [Table(table)]), Section("How it is measured", [Text([*METHOD, *notes(costs)])])]
    write_text(folder / FILE, render(Page(" → ".join(names), f"{len(table)} models, a step each", sections)))
    return folder / FILE


def check_names(names: Sequence[str]) -> None:
    """Raise SettingsError for a model that is named twice."""
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise SettingsError(f"RUN[:VERSION]: {twice[0]!r} is given twice")
