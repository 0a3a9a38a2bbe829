"""The pipeline: plan with DVC, run the stale stages of the chosen runs, publish what completed."""

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

from components.core.settings import ROOT
from components.registry.record.published import published
from flows.conclusion import conclude, tell_broken_off
from flows.lock_order import sort_lock
from flows.plan import Plan, ends, make_plan
from flows.preflight import check_settings, check_versions
from flows.presence import present
from flows.project import AnotherRun, Project
from flows.report import describe
from flows.server import IS_TEMPORARY
from flows.share import Share
from flows.stages import Crew, Outcome, patient, publish_task, run_task, share_task
from flows.superseded import superseded

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
    if (why := superseded()) is not None:
        return Cancelled(message=why)
    place = Project(Path(project or ROOT), study)
    try:
        with place.alone(), present():
            check_versions(place.root)
            plan = make_plan(place, place.choose(tuple(runs or ()), every), force, published)
            if plan.empty:
                return Completed(message=describe(plan))
            if not checked:
                print(describe(plan))
                check_settings(place, plan)
            return execute(place, plan)
    except AnotherRun as other:
        return Cancelled(message=str(other))
    except Exception as error:
        tell_broken_off(place, error)
        raise


def execute(project: Project, plan: Plan) -> State[Any]:
    """Run the plan as tasks of the current flow run, and tell how it went."""
    crew = Crew(project, project.workspace.params.pipeline.stage_timeout)
    crew.limit = _device_limit(crew.devices.number)
    crew.share = _share(plan, crew)
    futures: dict[str, PrefectFuture[Outcome]] = {}
    try:
        for stage in plan.stages:
            needed = [futures[name] for name in stage.after]
            futures[stage.name] = patient(run_task, crew).submit(stage=stage, crew=crew, wait_for=needed, return_state=False)
        for run in plan.unpublished:
            needed = [futures[name] for name in ends(run) if name in futures]
            publishing = patient(publish_task, crew).submit(run=run, crew=crew, wait_for=needed, return_state=False)
            futures[f"publish@{run}"] = publishing
        if crew.share:
            for name in (*(stage.name for stage in plan.stages), *plan.unshared):
                needed = [futures[name] for name in (name,) if name in futures]
                sharing = patient(share_task, crew).submit(stage=name, crew=crew, wait_for=needed, return_state=False)
                futures[f"share@{name}"] = sharing
        wait(list(futures.values()))
        sort_lock(project)
    except BaseException:  # Ctrl-C, or a SIGTERM that Prefect has made an exception of
        crew.processes.stop()
        raise
    states = {name: future.state for name, future in futures.items()}
    return conclude(project, plan, {name: state for name, state in states.items() if _tells(name, states)})


def _tells(name: str, states: dict[str, State[Any]]) -> bool:
    """Not of a push that came off, nor of one that had nothing to send since its stage failed."""
    stage = states.get(name.removeprefix("share@"))
    return not name.startswith("share@") or (not states[name].is_completed() and (stage is None or stage.is_completed()))


def _share(plan: Plan, crew: Crew) -> Share | None:
    remote = crew.project.params.pipeline.remote
    return Share(crew.project, remote, plan.address, crew.processes, crew.timeout) if remote and plan.address else None


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
