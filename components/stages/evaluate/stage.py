"""Stage ``evaluate``: compute the family's metrics on the export."""

import csv
import shutil
from pathlib import Path
from typing import Any

from components.core.files import write_json, write_text
from components.core.recipe import Report
from components.core.settings import Workspace
from components.stages.evaluate.plots import write_picture
from components.stages.evaluate.report.build import report_page
from components.stages.evaluate.report.page import FILE
from components.stages.evaluate.report.render import render
from components.stages.evaluate.score import score


def run(workspace: Workspace, name: str) -> None:
    """Score the export and write metrics, tables and pictures."""
    report = score(workspace, name, workspace.folder / "outputs" / "export" / name)
    out = workspace.folder / "outputs" / "evaluate" / name
    write_report(report, out)
    write_text(out / "report" / FILE, render(report_page(workspace, name, report)))
    print(f"{name}: " + ", ".join(f"{metric} {entry.value:.4f}" for metric, entry in report.metrics.items()))


def write_report(report: Report, out: Path) -> None:
    """Write metrics.json, report/ (directions, tables, pictures) and plots/ (for ``dvc plots``)."""
    for folder in (out / "report", out / "plots"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write_json(out / "metrics.json", {name: metric.value for name, metric in report.metrics.items()})
    directions = {name: metric.better for name, metric in report.metrics.items()}
    write_json(out / "report" / "report.json", {"directions": directions})
    for name, rows in report.tables.items():
        write_table(out / "report" / f"{name}.csv", rows)
    for name, picture in report.pictures.items():
        write_picture(out / "report" / f"{name}.png", picture)
        shutil.copyfile(out / "report" / f"{name}.png", out / "plots" / f"{name}.png")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write ``rows``, which have the same columns, as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
