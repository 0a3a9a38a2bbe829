"""Deployments: register the flows with their schedules at the Prefect server, and run what is due.

After an interruption only the last of the missed runs is executed, and no dead run blocks its deployment.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components.core.files import is_gone
from flows.project import Project
from flows.services.definitions import OWN_SERVER
from flows.services.flow_runs import OVERDUE, active_runs, due_runs, notes_folder, read_note, reason, superseding
from flows.services.prefect_server import answers
from flows.settings import Schedules, schedules

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner
    from prefect.schedules import Schedule


NAME = "darkroom"  # name of each flow's deployment: pipeline/darkroom, promote/darkroom
BY_REQUEST = dict.fromkeys(("promote", "approve", "reject", "rollback"), "flows.decide.flows")
BY_SCHEDULE = {"pipeline": "flows.pipeline.flow", "monitor": "flows.services.monitor"}
CHECK_INTERVAL = 15.0  # seconds between two checks for superseded runs
PATIENCE = 120.0  # seconds until the server should answer


def served(settings: Schedules) -> dict[str, str]:
    """Return flow -> cron string, empty if it runs on request only."""
    flows = {flow: getattr(settings, flow) for flow, module in BY_SCHEDULE.items() if importlib.util.find_spec(module)}
    return flows | dict.fromkeys(BY_REQUEST, "")


def serve(project: Project, ready: int | None = None) -> None:
    """Serve every flow by the schedules in params.yaml, until SIGTERM; ``ready``: see ``run_deployments``."""
    wait_for_server()
    from prefect.schedules import Cron

    settings = schedules(project.params)
    plan = served(settings).items()
    run_deployments({flow: Cron(cron, timezone=settings.time_zone) if cron else None for flow, cron in plan}, ready)


def run_deployments(plan: dict[str, Schedule | None], ready: int | None = None) -> None:
    """Register each flow with its schedule, clean up after an interruption, and run what is due until SIGTERM.

    ``ready``: file descriptor to which a line is written once all are registered.
    """
    from prefect.runner import Runner

    runner = Runner(name=NAME, pause_on_shutdown=False, limit=None)
    scheduled = []
    for flow, schedule in plan.items():
        identity = runner.add_deployment(deployment(flow, schedule))
        assert isinstance(identity, UUID)
        for line in clean_up(identity, scheduled=schedule is not None):
            print(f"{flow}: {line}", flush=True)
        scheduled += [identity] if schedule else []
    if ready is not None:
        os.write(ready, b"registered\n")
        os.close(ready)
    asyncio.run(until_sigterm(runner, scheduled))


async def until_sigterm(runner: Runner, scheduled: list[UUID]) -> None:
    """Run the runner until SIGTERM, then stop its flow runs. ``scheduled``: deployments with a schedule.

    Prefect's own SIGTERM handler calls a coroutine without awaiting it (3.8.8), so that the flow runs would stay RUNNING.
    """
    work = asyncio.create_task(runner.start())
    while not runner.started and not work.done():
        await asyncio.sleep(0.05)
    stopping: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: stopping.append(loop.create_task(runner.astop())))
    cleaning = asyncio.create_task(keep_cancelling(scheduled))
    await work
    cleaning.cancel()
    await asyncio.gather(*stopping)


async def keep_cancelling(scheduled: list[UUID]) -> None:
    """Cancel superseded waiting runs periodically, so that no queue builds up behind a long training.

    Each would otherwise start a process, for seconds of CPU time, only to find that it is superseded.
    """
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        try:
            await asyncio.to_thread(cancel_superseded, scheduled)
        except Exception as error:  # the server is busy or restarting: wait for the next round
            print(f"could not look for superseded runs: {error}", flush=True)


def deployment(flow: str, schedule: Schedule | None) -> RunnerDeployment:
    """Return the flow's deployment. Runs of a scheduled flow execute one at a time."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    function: Any = getattr(importlib.import_module({**BY_SCHEDULE, **BY_REQUEST}[flow]), flow)
    # CANCEL_NEW would execute the oldest of several due runs; flows.services.flow_runs selects the newest.
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    return function.to_deployment(
        NAME,
        schedules=[schedule] if schedule else [],
        concurrency_limit=one if flow in BY_SCHEDULE else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def wait_for_server() -> None:
    """Wait until the server at PREFECT_API_URL answers; OSError if it does not."""
    api, deadline = os.environ["PREFECT_API_URL"], time.monotonic() + PATIENCE
    while not answers(f"{api}/health"):
        if time.monotonic() > deadline:
            raise OSError(f"the Prefect server {api} has not answered within {PATIENCE:g} s")
        time.sleep(0.1)


def clean_up(deployment: UUID, scheduled: bool) -> Iterator[str]:
    """Clean up the deployment's runs after an interruption; yield one line per changed run."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield from crash_dead(client, deployment)  # first: a dead run must not supersede others
        if scheduled:
            yield from cancel_missed(client, deployment, datetime.now(UTC))
        else:
            yield from cancel_unscheduled(client, deployment)


def cancel_superseded(deployments: Sequence[UUID]) -> None:
    """Cancel waiting runs if a later one is due."""
    from prefect.client.orchestration import get_client

    waiting_since = datetime.now(UTC) - OVERDUE
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            for line in cancel_missed(client, deployment, waiting_since):
                print(line, flush=True)


def cancel_missed(client: SyncPrefectClient, deployment: UUID, waiting_since: datetime) -> Iterator[str]:
    """Cancel missed and waiting runs that another run supersedes."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    missed = [run for run in due_runs(client, deployment, [StateType.SCHEDULED]) if run.auto_scheduled]
    others = active_runs(client, deployment) if missed else []
    for run in missed:
        if (other := superseding(run, others, waiting_since)) is not None:
            client.set_flow_run_state(run.id, Cancelled(message=reason(other)), force=True)
            yield f"{run.name} is cancelled: {reason(other)}"


def cancel_unscheduled(client: SyncPrefectClient, deployment: UUID) -> Iterator[str]:
    """Remove the schedules of an unscheduled deployment, which registering it keeps, and cancel its missed runs."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    for schedule in client.read_deployment_schedules(deployment):
        client.delete_deployment_schedule(deployment, schedule.id)
    for run in list(due_runs(client, deployment, [StateType.SCHEDULED])):
        if run.auto_scheduled:
            client.set_flow_run_state(run.id, Cancelled(message="its schedule is gone"), force=True)
            yield f"{run.name} is cancelled: its schedule is gone"


def crash_dead(client: SyncPrefectClient, deployment: UUID) -> Iterator[str]:
    """Set unfinished runs whose process is gone to Crashed: they would block the next one."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    for run in list(due_runs(client, deployment, [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])):
        if _is_dead(run):
            client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
            (notes_folder() / str(run.id)).unlink(missing_ok=True)
            yield f"{run.name} is noted as crashed: its process is gone"


def _is_dead(run: FlowRun) -> bool:
    """Whether the run's process is gone, by its note. A run without a note is dead if nobody else uses the server."""
    note = read_note(notes_folder() / str(run.id))
    if note is not None:
        return is_gone(note.process) is True
    return OWN_SERVER in os.environ
