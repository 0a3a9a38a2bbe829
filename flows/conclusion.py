"""How a pipeline run ends: tables for the reader, the last lines of what failed, a message to people."""

from __future__ import annotations

import os
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.artifacts import write_artifacts
from flows.notify import notify_failure
from flows.plan import Plan, ends
from flows.project import Project
from flows.report import Row, metrics_rows, ood_tables, table, where_to_look
from flows.server import IS_TEMPORARY
from flows.stages import Outcome
from flows.tries import StageFailed


def conclude(project: Project, plan: Plan, states: dict[str, State[Any]]) -> State[Any]:
    """The flow run's final state; ``states``: of its tasks, by name. Prints the tables, logs and tells what failed."""
    after: dict[str, tuple[str, ...]] = {f"publish@{run}": ends(run) for run in plan.unpublished}
    after |= {stage.name: stage.after for stage in plan.stages}
    after |= {name: () for name in states if name.startswith("share@")}
    bad = [name for name, state in states.items() if not state.is_completed()]
    rows = [_row(name, state, [needed for needed in after[name] if needed in bad]) for name, state in states.items()]
    write_artifacts(project, rows, plan.runs)
    done = [run for run in plan.runs if not {*ends(run), f"publish@{run}"} & set(bad)]
    tables = (table(rows), table(metrics_rows(project, done)), ood_tables(project, done))
    print("", "\n\n".join(filter(None, tables)), where_to_look(project), sep="\n", flush=True)
    for name in bad:
        if states[name].is_failed():
            get_run_logger().error("%s failed: %s", name, _error(states[name]))
    if bad:
        summary = f"{len(bad)} of {len(states)} not done: {', '.join(bad)}"
        _notify(project, summary, {name: states[name] for name in bad})
        return Failed(message=summary)
    return Completed(message=f"{len(states)} done")


def tell_broken_off(project: Project, error: Exception) -> None:
    """A message to people that the flow itself failed."""
    notify_failure(project, f"pipeline{_in(project)} broke off", f"{type(error).__name__}: {error}\n{_where()}")


def _notify(project: Project, summary: str, bad: dict[str, State[Any]]) -> None:
    """What failed first, with its last lines, and where to look."""
    first = next((name for name in bad if bad[name].is_failed()), next(iter(bad)))
    text = f"{summary}\n\n{first}: {_error(bad[first])}\n\n{_where()}\n{where_to_look(project)}"
    notify_failure(project, f"pipeline{_in(project)}: {first} failed", text)


def _in(project: Project) -> str:
    return f" of study {project.study}" if project.study else ""


def _where() -> str:
    return f"flow run {flow_run.name}{f', {flow_run.ui_url}' if IS_TEMPORARY not in os.environ else ''}"


def _row(name: str, state: State[Any], missing: list[str]) -> Row:
    """``missing``: what it waited for and never came."""
    if state.is_completed():
        outcome: Outcome = state.result()
        return {"stage": name, "status": outcome.status, "seconds": f"{outcome.seconds:.1f}", "note": ""}
    if missing:
        return {"stage": name, "status": "not run", "seconds": "", "note": f"needs {', '.join(missing)}"}
    return {"stage": name, "status": (state.name or "failed").lower(), "seconds": "", "note": _error(state).partition(";")[0]}


def _error(state: State[Any]) -> str:
    error = state.result(raise_on_failure=False)
    lines = [f"  {line}" for line in error.tail] if isinstance(error, StageFailed) else []
    return "\n".join([f"{error}; its last lines:", *lines] if lines else [str(error)])
