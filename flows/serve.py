"""The deployments: flows under a name, with their schedules, that the Prefect server offers and a process of ours runs."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import signal
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.probe import answers
from flows.project import Project
from flows.settings import Schedules, schedules

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner
    from prefect.schedules import Schedule

NAME = "darkroom"  # of each flow's deployment: pipeline/darkroom, promote/darkroom
BY_REQUEST = {"promote": "flows.promote", "approve": "flows.promote", "reject": "flows.promote", "rollback": "flows.promote"}
BY_SCHEDULE = {"pipeline": "flows.pipeline", "monitor": "flows.monitor"}
THINNING = 15.0  # seconds between two looks for superseded runs
PATIENCE = 120.0  # seconds until the server should answer


def served(chosen: Schedules) -> dict[str, str]:
    """flow -> cron string, empty for one that runs on request only."""
    found = {flow: getattr(chosen, flow) for flow, module in BY_SCHEDULE.items() if importlib.util.find_spec(module)}
    return found | dict.fromkeys(BY_REQUEST, "")


def serve(project: Project, ready: int | None = None) -> None:
    """Serve every flow by the schedules in params.yaml, until SIGTERM; ``ready``: see ``run_deployments``."""
    wait_for_server()
    from prefect.schedules import Cron

    chosen = schedules(project.params)
    plan = served(chosen).items()
    run_deployments({flow: Cron(cron, timezone=chosen.time_zone) if cron else None for flow, cron in plan}, ready)


def run_deployments(wanted: dict[str, Schedule | None], ready: int | None = None) -> None:
    """Register each flow with its schedule, tidy what an interruption has left, and run what is due until SIGTERM.

    ``ready`` is a file descriptor that gets a line when all is registered.
    """
    from prefect.runner import Runner

    from flows.backlog import tidy

    runner = Runner(name=NAME, pause_on_shutdown=False, limit=None)
    scheduled = []
    for flow, schedule in wanted.items():
        identity = runner.add_deployment(deployment(flow, schedule))
        assert isinstance(identity, UUID)
        for line in tidy(identity, scheduled=schedule is not None):
            print(f"{flow}: {line}", flush=True)
        scheduled += [identity] if schedule else []
    if ready is not None:
        os.write(ready, b"registered\n")
        os.close(ready)
    asyncio.run(until_sigterm(runner, scheduled))


async def until_sigterm(runner: Runner, scheduled: list[UUID]) -> None:
    """Let the runner run, and end its flow runs in order when we are told to end. ``scheduled``: deployments with a schedule.

    Its own handler of SIGTERM calls a coroutine without awaiting it (3.8.8): the flow runs would stay RUNNING for ever.
    """
    work = asyncio.create_task(runner.start())
    while not runner.started and not work.done():
        await asyncio.sleep(0.05)
    stopping: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: stopping.append(loop.create_task(runner.astop())))
    thinning = asyncio.create_task(thin_out(scheduled))
    await work
    thinning.cancel()
    await asyncio.gather(*stopping)


async def thin_out(scheduled: list[UUID]) -> None:
    """Now and then cancel what waits for its turn and is superseded, so that nothing piles up behind a long training.

    A process for each, only to be told by the server that it is needless, would cost seconds of a core.
    """
    from flows.backlog import cancel_superseded

    while True:
        await asyncio.sleep(THINNING)
        try:
            await asyncio.to_thread(cancel_superseded, scheduled)
        except Exception as error:  # the server is restarted just now, or is busy: the next time will do
            print(f"could not look for superseded runs: {error}", flush=True)


def deployment(flow: str, schedule: Schedule | None) -> RunnerDeployment:
    """The flow's deployment. Of a scheduled flow one run at a time is at work, the others wait for it."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.types.entrypoint import EntrypointType

    found: Any = getattr(importlib.import_module({**BY_SCHEDULE, **BY_REQUEST}[flow]), flow)
    # ENQUEUE: of several that are due, CANCEL_NEW would keep the oldest; flows.superseded keeps the newest.
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    return found.to_deployment(
        NAME,
        schedules=[schedule] if schedule else [],
        concurrency_limit=one if flow in BY_SCHEDULE else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def wait_for_server() -> None:
    """Until the server at PREFECT_API_URL answers; OSError if it does not."""
    api, deadline = os.environ["PREFECT_API_URL"], time.monotonic() + PATIENCE
    while not answers(f"{api}/health"):
        if time.monotonic() > deadline:
            raise OSError(f"the Prefect server {api} has not answered within {PATIENCE:g} s")
        time.sleep(0.1)
