"""Prefect artifacts of a pipeline run: what happened, the metrics, and pictures to look at."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.project import Project
from flows.report import Row, metrics_rows

BIGGEST = 500_000  # bytes of a picture that is put into Prefect's database


def write_artifacts(project: Project, stages: list[Row], runs: Iterable[str]) -> None:
    """Tables "stages" and "metrics", and "pictures-<run>" for a run that has some. Keys: lower case, digits, dashes only."""
    runs = list(runs)
    create_table_artifact(key="stages", table=stages, description="what each stage did")
    create_table_artifact(key="metrics", table=metrics_rows(project, runs), description="the main metrics of each run")
    for run in runs:
        shown = [f"### {path.parent.name}/{path.name}\n![{path.stem}]({data_uri(path)})" for path in pictures(project, run)]
        if shown:
            create_markdown_artifact(key=f"pictures-{run.replace('_', '-')}", markdown="\n\n".join(shown), description=run)


def pictures(project: Project, run: str) -> Iterator[Path]:
    """The view's contact sheet and the report's pictures, as far as they are small."""
    outputs = project.folder / "outputs"
    sheet = outputs / "views" / project.workspace.params.runs[run].view / "contact.png"
    reports = [sorted((outputs / kind / run / "report").glob("*.png")) for kind in ("evaluate", "ood_table")]
    for path in (sheet, *reports[0], *reports[1]):
        if path.is_file() and path.stat().st_size <= BIGGEST:
            yield path


def data_uri(path: Path) -> str:
    """The PNG as an address that holds it whole."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
