"""After an interruption: of the runs that were missed only the last is run, and no dead run keeps a deployment's place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from components.core.files import is_gone
from flows import presence
from flows.services import OWN_SERVER
from flows.superseded import OVERDUE, due_runs, needless, reason, wanted_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun


def tidy(deployment: UUID, scheduled: bool) -> Iterator[str]:
    """Tidy the deployment's runs, before anything of it is run; a line for each that was changed."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield from crash_dead(client, deployment)  # first: a dead run stands for no other
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
    """Cancel the runs that were missed, or wait for their turn, though another one stands for them."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    missed = [run for run in due_runs(client, deployment, [StateType.SCHEDULED]) if run.auto_scheduled]
    others = wanted_runs(client, deployment) if missed else []
    for run in missed:
        if (other := needless(run, others, waiting_since)) is not None:
            client.set_flow_run_state(run.id, Cancelled(message=reason(other)), force=True)
            yield f"{run.name} is cancelled: {reason(other)}"


def cancel_unscheduled(client: SyncPrefectClient, deployment: UUID) -> Iterator[str]:
    """Cancel the missed runs of a schedule that is no more; registering a deployment without one leaves those it had."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    for schedule in client.read_deployment_schedules(deployment):
        client.delete_deployment_schedule(deployment, schedule.id)
    for run in list(due_runs(client, deployment, [StateType.SCHEDULED])):
        if run.auto_scheduled:
            client.set_flow_run_state(run.id, Cancelled(message="its schedule is gone"), force=True)
            yield f"{run.name} is cancelled: its schedule is gone"


def crash_dead(client: SyncPrefectClient, deployment: UUID) -> Iterator[str]:
    """Note the end of the runs that are said to be at work, though their process is gone: they would hold up the next one."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    for run in list(due_runs(client, deployment, [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])):
        if _is_dead(run):
            client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
            (presence.folder() / str(run.id)).unlink(missing_ok=True)
            yield f"{run.name} is noted as crashed: its process is gone"


def _is_dead(run: FlowRun) -> bool:
    """By the note of its process. A run without one had not begun; under our own server nobody but us could have taken it."""
    note = presence.read(presence.folder() / str(run.id))
    if note is not None:
        return is_gone(note.process) is True
    return OWN_SERVER in os.environ
