"""The deployments: flows with their schedules, which the Prefect server offers and a process of ours runs.

After an interruption only the last of the missed runs is run, and no dead run blocks its deployment.
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


NAME = "darkroom"  # of each flow's deployment: pipeline/darkroom, promote/darkroom
BY_REQUEST = dict.fromkeys(("promote", "approve", "reject", "rollback"), "flows.decide.flows")
BY_SCHEDULE = {"pipeline": "flows.pipeline.flow", "monitor": "flows.services.monitor"}
CHECK_INTERVAL = 15.0  # seconds between two checks for superseded runs
PATIENCE = 120.0  # seconds until the server should answer


def served(settings: Schedules) -> dict[str, str]:
    """flow -> cron string, empty for one that runs on request only."""
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

    ``ready`` is a file descriptor that gets a line when all is registered.
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
    """Run the runner, and stop its flow runs in order at SIGTERM. ``scheduled``: deployments with a schedule.

    Prefect's own handler of SIGTERM calls a coroutine without awaiting it (3.8.8): the flow runs would stay RUNNING for ever.
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
    """Cancel waiting runs that are superseded, again and again, so that nothing piles up behind a long training.

    Starting a process for each, only to learn from the server that it is superseded, would cost seconds of a core.
    """
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        try:
            await asyncio.to_thread(cancel_superseded, scheduled)
        except Exception as error:  # the server is restarted just now, or is busy: the next time will do
            print(f"could not look for superseded runs: {error}", flush=True)


def deployment(flow: str, schedule: Schedule | None) -> RunnerDeployment:
    """The flow's deployment. Of a scheduled flow one run at a time is at work, the others wait for it."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    function: Any = getattr(importlib.import_module({**BY_SCHEDULE, **BY_REQUEST}[flow]), flow)
    # ENQUEUE: of several that are due, CANCEL_NEW would keep the oldest; flows.services.flow_runs keeps the newest.
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
    """Bring the deployment's runs up to date after an interruption; yield a line for each that was changed."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield from crash_dead(client, deployment)  # first: a dead run supersedes no other
        if scheduled:
            yield from cancel_missed(client, deployment, datetime.now(UTC))
        else:
            yield from cancel_unscheduled(client, deployment)


def cancel_superseded(deployments: Sequence[UUID]) -> None:
    """Cancel the runs that wait for their turn though a later one has become due."""
    from prefect.client.orchestration import get_client

    waiting_since = datetime.now(UTC) - OVERDUE
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            for line in cancel_missed(client, deployment, waiting_since):
                print(line, flush=True)


def cancel_missed(client: SyncPrefectClient, deployment: UUID, waiting_since: datetime) -> Iterator[str]:
    """Cancel the runs that were missed, or wait for their turn, though another one does their work."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    missed = [run for run in due_runs(client, deployment, [StateType.SCHEDULED]) if run.auto_scheduled]
    others = active_runs(client, deployment) if missed else []
    for run in missed:
        if (other := superseding(run, others, waiting_since)) is not None:
            client.set_flow_run_state(run.id, Cancelled(message=reason(other)), force=True)
            yield f"{run.name} is cancelled: {reason(other)}"


def cancel_unscheduled(client: SyncPrefectClient, deployment: UUID) -> Iterator[str]:
    """Cancel the missed runs of a removed schedule; registering a deployment without one leaves those it had."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    for schedule in client.read_deployment_schedules(deployment):
        client.delete_deployment_schedule(deployment, schedule.id)
    for run in list(due_runs(client, deployment, [StateType.SCHEDULED])):
        if run.auto_scheduled:
            client.set_flow_run_state(run.id, Cancelled(message="its schedule is gone"), force=True)
            yield f"{run.name} is cancelled: its schedule is gone"


def crash_dead(client: SyncPrefectClient, deployment: UUID) -> Iterator[str]:
    """Crash the runs whose process is gone though the server takes them for running: they would block the next one."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    for run in list(due_runs(client, deployment, [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])):
        if _is_dead(run):
            client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
            (notes_folder() / str(run.id)).unlink(missing_ok=True)
            yield f"{run.name} is noted as crashed: its process is gone"


def _is_dead(run: FlowRun) -> bool:
    """Judge by the note of its process. A run without one had not begun; of our own server nobody else takes runs."""
    note = read_note(notes_folder() / str(run.id))
    if note is not None:
        return is_gone(note.process) is True
    return OWN_SERVER in os.environ
