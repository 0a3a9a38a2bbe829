"""Flow runs as the server knows them: the process behind each, and which of several scheduled ones does the work.

A note of the process outlives it, so that ``doctor`` and the deployments can tell the server: a run whose process was killed
together with what watched it stays RUNNING for ever. Of scheduled runs that have become due one after the other, only the last
does the work, if there is a choice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from components.core import settings
from components.core.files import this_process, write_json
from flows.services.prefect_server import IS_TEMPORARY

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun


PAGE = 200  # runs per answer of the server
OVERDUE = timedelta(seconds=60)  # a run that waits this long is waiting, and not just about to begin


def superseded() -> str | None:
    """Inside a scheduled flow run: why another run of the same deployment replaces this one, else None.

    A run that a person or another flow has requested is never superseded.
    """
    from prefect.client.orchestration import get_client
    from prefect.context import FlowRunContext
    from prefect.types._datetime import now

    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or not run.auto_scheduled:
        return None
    with get_client(sync_client=True) as client:
        other = superseding(run, active_runs(client, run.deployment_id), now("UTC") - OVERDUE)
    return None if other is None else reason(other)


def superseding(run: FlowRun, others: Iterable[FlowRun], waiting_since: datetime) -> FlowRun | None:
    """The last of the ``others`` that does the same and stands for ``run``, or None. Such a run

    - began after ``run`` had become due, so that it has seen all that ``run`` would have seen, or
    - was due later, and has waited at least since ``waiting_since``. One that has just become due does not count: where
      starting takes longer than the interval, each run would be given up for the next one, and none would ever work.
    """
    candidates = [
        other
        for other in others
        if other.id != run.id
        and other.auto_scheduled
        and other.parameters == run.parameters
        and (_began_within(other, run) or (other.start_time is None and _due(run) < _due(other) <= waiting_since))
    ]
    return max(candidates, key=_due, default=None)


def _began_within(other: FlowRun, run: FlowRun) -> bool:
    """Whether ``other`` began after ``run`` had become due, and before ``run`` began, if it has."""
    start = other.start_time
    return start is not None and _due(run) <= start and (run.start_time is None or start < run.start_time)


def reason(other: FlowRun) -> str:
    """The message of a superseded run."""
    return f"superseded by the run scheduled for {_due(other):%Y-%m-%d %H:%M:%S %Z}"


def active_runs(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    """The deployment's latest due runs that do the work, have done it, or wait for it."""
    from prefect.client.schemas.objects import StateType

    states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]
    return _page(client, deployment, states, 0, newest_first=True)


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

    query = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now("UTC")),  # type: ignore[arg-type]
    )
    order = FlowRunSort.EXPECTED_START_TIME_DESC if newest_first else FlowRunSort.EXPECTED_START_TIME_ASC
    return client.read_flow_runs(flow_run_filter=query, sort=order, limit=PAGE, offset=offset)


def _due(run: FlowRun) -> datetime:
    assert run.expected_start_time is not None
    return run.expected_start_time


@dataclass(frozen=True)
class FlowRunNote:
    """``process``: its identity; ``api``: the server that knows the run, empty for a temporary one over our own database."""

    id: str
    flow: str
    name: str
    process: str
    api: str


@contextmanager
def noted_flow_run() -> Iterator[None]:
    """Note the process of the present flow run below ``.work/flow-runs`` until the block ends; outside of one do nothing."""
    from prefect.runtime import flow_run

    if flow_run.id is None:
        yield
        return
    api = "" if IS_TEMPORARY in os.environ else os.environ.get("PREFECT_API_URL", "")
    note = notes_folder() / str(flow_run.id)
    write_json(note, asdict(FlowRunNote(str(flow_run.id), str(flow_run.flow_name), str(flow_run.name), this_process(), api)))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def notes_folder() -> Path:
    """The folder of the notes: one file per flow run, named by its id."""
    return settings.WORK / "flow-runs"


def read_note(note: Path) -> FlowRunNote | None:
    """The note's content, or None if it is not readable or has been removed."""
    try:
        return FlowRunNote(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
