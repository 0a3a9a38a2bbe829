"""``python -m components.stages.evaluate <run>``: the recipe's metrics on what is served, then publish to MLflow.

``--publish`` only publishes what the outs hold, strictly: results that came from DVC's cache or another machine. Within the
stage an unreachable tracking server is a warning, never a lost result.
"""

import argparse
import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from components.core.recipe import Report
from components.core.runtime import block_name, run_command
from components.core.settings import Workspace
from components.registry.record.dvc_lock import export_key
from components.registry.tracking import TrackingUnavailable, publish
from components.serving.loading import load_served
from components.stages.evaluate.latency import has_latency, measure_latency, write_latency
from components.stages.evaluate.plots import write_picture
from components.stages.evaluate.score import score


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m components.stages.evaluate", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--publish", action="store_true", help="publish the outs as they are")
    arguments = parser.parse_args()
    workspace, run = Workspace(), block_name(arguments.run)
    if not arguments.publish:
        evaluate(workspace, run)
    measure(workspace, run)
    try:
        published = publish(workspace, run, detection=arguments.publish)
        print(f"{run}: published as version {published.version}")
    except TrackingUnavailable as error:
        if arguments.publish:
            raise
        print(f"warning: {error}; the results are safe, the next flow run publishes them", file=sys.stderr)


def evaluate(workspace: Workspace, run: str) -> None:
    """Score the export and write metrics, tables and pictures."""
    report = score(workspace, run, export_folder(workspace, run))
    write_report(report, workspace.folder / "outputs" / "evaluate" / run)
    print(f"{run}: " + ", ".join(f"{name} {metric.value:.4f}" for name, metric in report.metrics.items()))


def measure(workspace: Workspace, run: str) -> None:
    """Measure the latency of the export on this machine, once."""
    key = export_key(workspace, run)
    if has_latency(workspace, run, key):
        return
    folder = export_folder(workspace, run)
    with np.load(folder / "example.npz", allow_pickle=False) as example:
        write_latency(workspace, run, key, measure_latency(load_served(folder), dict(example)))


def export_folder(workspace: Workspace, run: str) -> Path:
    """The run's export out."""
    return workspace.folder / "outputs" / "export" / run


def write_report(report: Report, out: Path) -> None:
    """metrics.json, report/ (directions, tables, pictures) and plots/ (what ``dvc plots`` shows)."""
    for folder in (out / "report", out / "plots"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    _write_json(out / "metrics.json", {name: metric.value for name, metric in report.metrics.items()})
    directions = {name: metric.better for name, metric in report.metrics.items()}
    _write_json(out / "report" / "report.json", {"directions": directions})
    for name, rows in report.tables.items():
        write_table(out / "report" / f"{name}.csv", rows)
    for name, picture in report.pictures.items():
        write_picture(out / "report" / f"{name}.png", picture)
        shutil.copyfile(out / "report" / f"{name}.png", out / "plots" / f"{name}.png")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """A CSV of ``rows``, which all have the first row's columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
