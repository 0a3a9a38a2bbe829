"""The pipeline: plan with DVC, run the stale stages of the chosen runs, publish what completed."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from components.record.published import published
from components.settings import ROOT
from flows.artifacts import write_artifacts
from flows.lock_order import sort_lock
from flows.plan import Plan, make_plan
from flows.preflight import check_settings, check_versions
from flows.project import AnotherRun, Project
from flows.report import Row, describe, metrics_rows, table, where_to_look
from flows.server import IS_TEMPORARY
from flows.stages import Crew, Outcome, StageFailed, publish_task, run_task

MOST_TASKS = 512  # one that waits for another, or for cores, holds a thread


@flow(name="pipeline", task_runner=ThreadPoolTaskRunner(max_workers=MOST_TASKS))  # type: ignore[arg-type]
def pipeline(
    *,
    runs: list[str] | None = None,
    every: bool = False,
    study: str | None = None,
    force: bool = False,
    project: str | None = None,
    checked: bool = False,
) -> State[Any]:
    """Bring the chosen runs (default: ``pipeline.runs``) of the root or a study up to date, and publish them.

    ``force`` runs their train, export and evaluate stages though nothing changed; ``project`` is the root of another clone;
    ``checked`` says that the settings of what is stale are known to be valid. The flow fails if a stage does; the runs that do
    not need that stage go on. It is cancelled where another pipeline run is at work in the workspace.
    """
    place = Project(Path(project or ROOT), study)
    try:
        with place.alone():
            check_versions(place.root)
            plan = make_plan(place, place.choose(tuple(runs or ()), every), force, published)
            if not checked:
                print(describe(plan))
                check_settings(place, plan)
            return execute(place, plan)
    except AnotherRun as other:
        return Cancelled(message=str(other))


def execute(project: Project, plan: Plan) -> State[Any]:
    """Run the plan as tasks of the current flow run, and tell how it went."""
    crew = Crew(project, project.workspace.params.pipeline.stage_timeout)
    crew.limit = _device_limit(crew.devices.number)
    futures: dict[str, PrefectFuture[Outcome]] = {}
    try:
        for stage in plan.stages:
            needed = [futures[name] for name in stage.after]
            futures[stage.name] = run_task.submit(stage=stage, crew=crew, wait_for=needed, return_state=False)
        for run in plan.unpublished:
            needed = [futures[name] for name in (f"evaluate@{run}",) if name in futures]
            futures[f"publish@{run}"] = publish_task.submit(run=run, crew=crew, wait_for=needed, return_state=False)
        wait(list(futures.values()))
        sort_lock(project)
    except BaseException:  # Ctrl-C, or a SIGTERM that Prefect has made an exception of
        crew.processes.stop()
        raise
    return _conclude(project, plan, {name: future.state for name, future in futures.items()})


def _conclude(project: Project, plan: Plan, states: dict[str, State[Any]]) -> State[Any]:
    after: dict[str, tuple[str, ...]] = {f"publish@{run}": (f"evaluate@{run}",) for run in plan.unpublished}
    after |= {stage.name: stage.after for stage in plan.stages}
    bad = [name for name, state in states.items() if not state.is_completed()]
    rows = [_row(name, state, [needed for needed in after[name] if needed in bad]) for name, state in states.items()]
    write_artifacts(project, rows, plan.runs)
    done = [run for run in plan.runs if not {f"evaluate@{run}", f"publish@{run}"} & set(bad)]
    print("", table(rows), "", table(metrics_rows(project, done)), where_to_look(project), sep="\n", flush=True)
    for name in bad:
        if states[name].is_failed():
            get_run_logger().error("%s failed: %s", name, _error(states[name]))
    if bad:
        return Failed(message=f"{len(bad)} of {len(states)} not done: {', '.join(bad)}")
    return Completed(message=f"{len(states)} done")


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


def _device_limit(devices: int) -> str | None:
    """Make the server's limit on this machine's devices, by which its flows see each other; None without devices.

    None on a temporary server as well: it would remember the slot of a killed flow, and no other flow is there to see.
    """
    if not devices or IS_TEMPORARY in os.environ:
        return None
    from prefect.client.orchestration import get_client

    name = f"gpu-{socket.gethostname()}"
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, limit=devices)
    return name
