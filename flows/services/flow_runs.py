"""Flow runs on the server: notes of their processes, and which of several scheduled runs supersedes the others.

A note outlives its process, so that ``doctor`` and the deployments can find dead runs: one whose process was killed together
with its runner stays RUNNING on the server. If several scheduled runs are due, only the last is executed.
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
OVERDUE = timedelta(seconds=60)  # after this time a due run counts as waiting, not as about to start


def superseded() -> str | None:
    """Return why another run of the deployment supersedes the present scheduled flow run, or None.

    Runs requested by a person or another flow are never superseded.
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
    """Return the last of the ``others`` that supersedes ``run``, or None. Such a run has the same parameters, and

    - started after ``run`` was due, so that it has seen all that ``run`` would see, or
    - was due later, and has waited at least since ``waiting_since``. One that has just become due does not count: if starting
      takes longer than the interval, each run would be cancelled for the next one, and none would be executed.
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
    """Whether ``other`` started after ``run`` was due, and before ``run`` started, if it has."""
    start = other.start_time
    return start is not None and _due(run) <= start and (run.start_time is None or start < run.start_time)


def reason(other: FlowRun) -> str:
    """Return the message of a superseded run."""
    return f"superseded by the run scheduled for {_due(other):%Y-%m-%d %H:%M:%S %Z}"


def active_runs(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    """Return the deployment's latest due runs that are completed, running or waiting."""
    from prefect.client.schemas.objects import StateType

    states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]
    return _page(client, deployment, states, 0, newest_first=True)


def due_runs(client: SyncPrefectClient, deployment: UUID, states: list[Any]) -> Iterator[FlowRun]:
    """Yield the deployment's due runs in these types of states, oldest first."""
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
    """Note of a flow run's process. ``api``: address of its server, "" for a temporary one over the local database."""

    id: str
    flow: str
    name: str
    process: str
    api: str


@contextmanager
def noted_flow_run() -> Iterator[None]:
    """Keep a note of the present flow run's process below ``.work/flow-runs`` during the block; no-op outside a flow run."""
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
    """Return the folder of the notes: one file per flow run, named by its id."""
    return settings.WORK / "flow-runs"


def read_note(note: Path) -> FlowRunNote | None:
    """Read the note; None if it is not readable or has been removed."""
    try:
        return FlowRunNote(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
