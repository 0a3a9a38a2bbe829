"""Conclude a pipeline run: summary tables, Prefect artifacts, last lines of failed stages, notification."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from components.command import tell
from flows.pipeline.plan import PipelinePlan
from flows.pipeline.report import Row, metrics_rows, ood_tables, report_address, table, where_to_look
from flows.pipeline.stages import StageOutcome
from flows.processes import StageFailed
from flows.project import Project
from flows.services.notify import notify_failure
from flows.services.prefect_server import IS_TEMPORARY


def conclude(project: Project, plan: PipelinePlan, states: dict[str, State[Any]]) -> State[Any]:
    """Return the flow run's final state from the ``states`` of its tasks, by name; print tables, log and notify failures."""
    after: dict[str, tuple[str, ...]] = {f"publish@{run}": plan.ends[run] for run in plan.unpublished}
    after |= {stage.name: stage.after for stage in plan.stages}
    after |= {name: () for name in states if name.startswith("share@")}
    bad = [name for name, state in states.items() if not state.is_completed()]
    rows = [_row(name, state, [needed for needed in after[name] if needed in bad]) for name, state in states.items()]
    write_artifacts(project, rows, plan.runs)
    done = [run for run in plan.runs if not {*plan.ends[run], f"publish@{run}"} & set(bad)]
    tables = (table(rows), table(metrics_rows(project, done)), ood_tables(project, done))
    tell("", "\n\n".join(filter(None, tables)), where_to_look(project))
    for name in bad:
        if states[name].is_failed():
            get_run_logger().error("%s failed: %s", name, _error(states[name]))
    if bad:
        summary = f"{len(bad)} of {len(states)} not done: {', '.join(bad)}"
        _notify(project, summary, {name: states[name] for name in bad})
        return Failed(message=summary)
    return Completed(message=f"{len(states)} done")


def notify_broken_off(project: Project, error: Exception) -> None:
    """Send a notification that the flow itself failed."""
    notify_failure(project, f"pipeline{_in(project)} broke off", f"{type(error).__name__}: {error}\n{_where()}")


def _notify(project: Project, summary: str, bad: dict[str, State[Any]]) -> None:
    """Send a notification: the first failure with its last lines, and the commands that show more."""
    first = next((name for name in bad if bad[name].is_failed()), next(iter(bad)))
    text = f"{summary}\n\n{first}: {_error(bad[first])}\n\n{_where()}\n{where_to_look(project)}"
    notify_failure(project, f"pipeline{_in(project)}: {first} failed", text)


def _in(project: Project) -> str:
    return f" of study {project.study}" if project.study else ""


def _where() -> str:
    return f"flow run {flow_run.name}{f', {flow_run.ui_url}' if IS_TEMPORARY not in os.environ else ''}"


def _row(name: str, state: State[Any], missing: list[str]) -> Row:
    """Return a row of the table "stages". ``missing``: failed dependencies of the task."""
    if state.is_completed():
        outcome: StageOutcome = state.result()
        return {"stage": name, "status": outcome.status, "seconds": f"{outcome.seconds:.1f}", "note": ""}
    if missing:
        return {"stage": name, "status": "not run", "seconds": "", "note": f"needs {', '.join(missing)}"}
    return {"stage": name, "status": (state.name or "failed").lower(), "seconds": "", "note": _error(state).partition(";")[0]}


def _error(state: State[Any]) -> str:
    error = state.result(raise_on_failure=False)
    lines = [f"  {line}" for line in error.tail] if isinstance(error, StageFailed) else []
    return "\n".join([f"{error}; its last lines:", *lines] if lines else [str(error)])


MAX_PICTURE = 500_000  # bytes of a picture stored in Prefect's database


def write_artifacts(project: Project, stages: list[Row], runs: Iterable[str]) -> None:
    """Create the tables "stages" and "metrics"; "report-<run>" and "pictures-<run>" if any. Keys: lower case, digits, -."""
    runs = list(runs)
    create_table_artifact(key="stages", table=stages, description="what each stage did")
    create_table_artifact(key="metrics", table=metrics_rows(project, runs), description="the main metrics of each run")
    for run in runs:
        address = report_address(project, run)
        if address.is_file():
            create_link_artifact(key=f"report-{run.replace('_', '-')}", link=address.as_uri(), link_text=f"report of {run}")
        figures = [f"### {path.parent.name}/{path.name}\n![{path.stem}]({data_uri(path)})" for path in pictures(project, run)]
        if figures:
            create_markdown_artifact(key=f"pictures-{run.replace('_', '-')}", markdown="\n\n".join(figures), description=run)


def pictures(project: Project, run: str) -> Iterator[Path]:
    """Yield the view's contact sheet and the report's pictures, unless they are large."""
    outputs = project.folder / "outputs"
    sheet = outputs / "views" / project.workspace.params.runs[run].view / "contact.png"
    detection = project.workspace.detection_of(run)
    folders = [outputs / "evaluate" / run, *([outputs / "ood_table" / detection] if detection else [])]
    for path in (sheet, *(path for folder in folders for path in sorted((folder / "report").glob("*.png")))):
        if path.is_file() and path.stat().st_size <= MAX_PICTURE:
            yield path


def data_uri(path: Path) -> str:
    """Return the PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
