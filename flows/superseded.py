"""Of the scheduled runs that have become due one after the other, only one does the work: the last, where there is a choice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

PAGE = 200  # runs an answer of the server
OVERDUE = timedelta(seconds=60)  # a run that waits this long is waiting, and not just about to begin


def superseded() -> str | None:
    """Inside a scheduled flow run: why another run of the same deployment makes this one needless, else None.

    A run that a person or another flow has asked for is never needless.
    """
    from prefect.client.orchestration import get_client
    from prefect.context import FlowRunContext
    from prefect.types._datetime import now

    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or not run.auto_scheduled:
        return None
    with get_client(sync_client=True) as client:
        other = needless(run, wanted_runs(client, run.deployment_id), now("UTC") - OVERDUE)
    return None if other is None else reason(other)


def needless(run: FlowRun, others: Iterable[FlowRun], waiting_since: datetime) -> FlowRun | None:
    """The last of the ``others`` that does the same and stands for ``run``, or None. Such a run

    - began after ``run`` had become due, so that it has seen all that ``run`` would have seen, or
    - was due later, and has waited at least since ``waiting_since``. One that has just become due does not count: where
      starting takes longer than the interval, each run would be given up for the next one, and none would ever work.
    """
    found = [
        other
        for other in others
        if other.id != run.id
        and other.auto_scheduled
        and other.parameters == run.parameters
        and (_began_within(other, run) or (other.start_time is None and _due(run) < _due(other) <= waiting_since))
    ]
    return max(found, key=_due, default=None)


def _began_within(other: FlowRun, run: FlowRun) -> bool:
    """Whether ``other`` began after ``run`` had become due, and before ``run`` began, if it has."""
    start = other.start_time
    return start is not None and _due(run) <= start and (run.start_time is None or start < run.start_time)


def reason(other: FlowRun) -> str:
    """In words."""
    return f"superseded by the run scheduled for {_due(other):%Y-%m-%d %H:%M:%S %Z}"


def wanted_runs(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    """The deployment's latest due runs that do the work, have done it, or wait for it."""
    from prefect.client.schemas.objects import StateType

    wanted = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]
    return _page(client, deployment, wanted, 0, newest_first=True)


def due_runs(client: SyncPrefectClient, deployment: UUID, states: list[Any]) -> Iterator[FlowRun]:
    """The deployment's runs in these types of states whose time has come, oldest first."""
    offset = 0
    while page := _page(client, deployment, states, offset):
        yield from page
        offset += len(page)


def _page(
    client: SyncPrefectClient, deployment: UUID, states: list[Any], offset: int, newest_first: bool = False
) -> list[FlowRun]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.types._datetime import now

    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now("UTC")),  # type: ignore[arg-type]
    )
    order = FlowRunSort.EXPECTED_START_TIME_DESC if newest_first else FlowRunSort.EXPECTED_START_TIME_ASC
    return client.read_flow_runs(flow_run_filter=wanted, sort=order, limit=PAGE, offset=offset)


def _due(run: FlowRun) -> datetime:
    assert run.expected_start_time is not None
    return run.expected_start_time
