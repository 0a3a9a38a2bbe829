"""The pipeline: plan with DVC, run the stale stages of the selected runs, publish the completed ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed
from prefect.task_runners import ThreadPoolTaskRunner

from components.command import tell
from components.core.settings import ROOT
from components.registry.record.published import published
from components.versions import check_versions
from flows.dvc import merge_driver
from flows.dvc.index import sort_lock
from flows.dvc.sharing import Share
from flows.pipeline.conclusion import conclude, notify_broken_off
from flows.pipeline.place import check_place
from flows.pipeline.plan import PipelinePlan, make_plan
from flows.pipeline.preflight import check_settings
from flows.pipeline.report import describe
from flows.pipeline.stages import RunContext, StageOutcome, publish_task, run_task, share_task, with_retries
from flows.project import AnotherRun, Project
from flows.services.flow_runs import noted_flow_run, superseded
from flows.services.prefect_server import IS_TEMPORARY

MAX_TASKS = 512  # tasks that wait for another or for cores occupy a thread each


@flow(name="pipeline", task_runner=ThreadPoolTaskRunner(max_workers=MAX_TASKS))  # type: ignore[arg-type]
def pipeline(
    *,
    runs: list[str] | None = None,
    every: bool = False,
    study: str | None = None,
    force: bool = False,
    project: str | None = None,
    checked: bool = False,
) -> State[Any]:
    """Bring the selected runs (default: ``pipeline.runs``) of the root or a study up to date, and publish them.

    ``force`` runs their train, export and evaluate stages even if nothing changed; ``project`` is the root of another clone;
    ``checked``: the settings of stale stages have been validated. The flow fails if a stage does; runs that do not need that
    stage continue. It is cancelled if another pipeline run holds the workspace.
    """
    if (why := superseded()) is not None:
        return Cancelled(message=why)
    place = Project(Path(project or ROOT), study)
    try:
        with place.alone(), noted_flow_run():
            check_place(place.root, study)
            check_versions(place.root)
            merge_driver.install(place.root)
            plan = make_plan(place, place.choose(tuple(runs or ()), every), force, published)
            if plan.empty:
                return Completed(message=describe(plan))
            if not checked:
                check_settings(place, plan)
                tell(describe(plan))
            return execute(place, plan)
    except AnotherRun as other:
        return Cancelled(message=str(other))
    except Exception as error:
        notify_broken_off(place, error)
        raise


def execute(project: Project, plan: PipelinePlan) -> State[Any]:
    """Run the plan as tasks of the current flow run, and report."""
    context = RunContext(project, project.workspace.params.pipeline.stage_timeout)
    context.limit = _device_limit(context.devices.number)
    context.share = _share(plan, context)
    futures: dict[str, PrefectFuture[StageOutcome]] = {}
    try:
        for stage in plan.stages:
            needed = [futures[name] for name in stage.after]
            futures[stage.name] = with_retries(run_task, context).submit(
                stage=stage, context=context, wait_for=needed, return_state=False
            )
        for run in plan.unpublished:
            needed = [futures[name] for name in plan.ends[run] if name in futures]
            publishing = with_retries(publish_task, context).submit(
                run=run, context=context, wait_for=needed, return_state=False
            )
            futures[f"publish@{run}"] = publishing
        if context.share:
            for name in (*(stage.name for stage in plan.stages), *plan.unshared):
                needed = [futures[name] for name in (name,) if name in futures]
                sharing = with_retries(share_task, context).submit(
                    stage=name, context=context, wait_for=needed, return_state=False
                )
                futures[f"share@{name}"] = sharing
        wait(list(futures.values()))
        sort_lock(project)
    except BaseException:  # Ctrl-C, or SIGTERM, which Prefect turns into an exception
        context.processes.stop()
        raise
    states = {name: future.state for name, future in futures.items()}
    return conclude(project, plan, {name: state for name, state in states.items() if _is_reported(name, states)})


def _is_reported(name: str, states: dict[str, State[Any]]) -> bool:
    """Whether the task is reported: pushes are left out if they succeeded or their stage failed."""
    stage = states.get(name.removeprefix("share@"))
    return not name.startswith("share@") or (not states[name].is_completed() and (stage is None or stage.is_completed()))


def _share(plan: PipelinePlan, context: RunContext) -> Share | None:
    remote = context.project.params.pipeline.remote
    return Share(context.project, remote, plan.address, context.processes, context.timeout) if remote and plan.address else None


def _device_limit(devices: int) -> str | None:
    """Create the server's concurrency limit for this machine's devices and return its name; None without devices.

    A temporary server has none either: it serves one flow, and would keep the slot of a killed one.
    """
    if not devices or IS_TEMPORARY in os.environ:
        return None
    from prefect.client.orchestration import get_client

    name = f"gpu-{socket.gethostname()}"
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, limit=devices)
    return name
