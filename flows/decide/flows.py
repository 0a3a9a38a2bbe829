"""The decisions about models as flows, for forms in Prefect's UI and for the commands if a Prefect server answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from components.core.config.strict import SettingsError
from components.registry.promotion.audit import Entry
from components.registry.promotion.journal import NotDone
from components.registry.tracking import TrackingUnavailable
from flows.decide import decisions
from flows.services.flow_runs import noted_flow_run
from flows.services.prefect_server import IS_TEMPORARY

LEASE = 60.0  # seconds until the server releases the slot of a killed decision
PATIENCE = 3600.0  # seconds that one decision waits for another on the same server
NAMES = {"refused": "Refused", "approval requested": "AwaitingApproval", "rejected": "Rejected"}


@flow(name="promote", flow_run_name="promote-{run}")
def promote(
    *,
    run: str,
    comment: str = "",
    by: str = "",
    compare: bool = True,
    study: str | None = None,
    project: str | None = None,
) -> State[Any]:
    """Compare the run's candidate with its champion and promote it if it passes every gate of the promote block.

    run: a run of params.yaml. comment: reason. by: who (default: the login name). compare: if off, the champion is not scored,
    and only floor and latency are checked. study: a folder of experiments/. project: another clone.
    """
    return _decided(run, study, project, lambda context: decisions.promote(context, by, comment, compare))


@flow(name="approve", flow_run_name="approve-{run}")
def approve(
    *,
    run: str,
    version: int | None = None,
    comment: str = "",
    by: str = "",
    study: str | None = None,
    project: str | None = None,
) -> State[Any]:
    """Promote the version that passed its gates and waits for approval.

    run: a run of params.yaml. version: which one, if several wait. comment: why. by: who. study: a folder of experiments/.
    """
    return _decided(run, study, project, lambda context: decisions.approve(context, version, by, comment))


@flow(name="reject", flow_run_name="reject-{run}")
def reject(
    *,
    run: str,
    version: int | None = None,
    comment: str = "",
    by: str = "",
    study: str | None = None,
    project: str | None = None,
) -> State[Any]:
    """Do not promote the version that passed its gates and waits for approval.

    run: a run of params.yaml. version: which one, if several wait. comment: why. by: who. study: a folder of experiments/.
    """
    return _decided(run, study, project, lambda context: decisions.reject(context, version, by, comment))


@flow(name="rollback", flow_run_name="rollback-{run}")
def rollback(
    *,
    run: str,
    version: int | None = None,
    comment: str = "",
    by: str = "",
    study: str | None = None,
    project: str | None = None,
) -> State[Any]:
    """Make the previous champion of the run, or a version that was champion before, the champion again.

    run: a run of params.yaml. version: default the previous one. comment: why. by: who. study: a folder of experiments/.
    """
    return _decided(run, study, project, lambda context: decisions.rollback(context, version, by, comment))


def _decided(run: str, study: str | None, folder: str | None, decide: decisions.Decide) -> State[Any]:
    """Decide; return the flow run's state: Completed, possibly with a name of ``NAMES``, or Failed with the reason."""
    log = get_run_logger().info
    try:
        project = decisions.project_at(folder, study, run)
        name = project.workspace.registered_name(run)
        with noted_flow_run(), alone_on_server(name), decisions.decision_context(project, run, log) as context:
            result = decide(context)
    except (NotDone, SettingsError, TrackingUnavailable) as error:
        return Failed(message=str(error))
    if result.entry:
        _show(result.entry)
        decisions.announce(project, result, log)
    log(result.words)
    state_name = NAMES.get(result.entry.action) if result.entry else None
    return Completed(message=result.words, name=state_name or "Completed")


@contextmanager
def alone_on_server(name: str) -> Iterator[None]:
    """Allow one decision per model on all machines of a Prefect server; the file lock is local."""
    if IS_TEMPORARY in os.environ:
        yield
        return
    from prefect.client.orchestration import get_client
    from prefect.concurrency.sync import concurrency

    limit = f"promote-{name}"
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit, limit=1)
    with concurrency(limit, occupy=1, strict=True, timeout_seconds=PATIENCE, lease_duration=LEASE):
        yield


def _show(entry: Entry) -> None:
    """Show the gates as a table in the UI. Keys of artifacts: lower case, digits, dashes only."""
    if entry.verdict:
        key = f"gates-{entry.name.replace('_', '-').replace('.', '-')}"
        rows = [{"gate": line["gate"], "passed": str(line["passed"]), "figures": line["words"]} for line in entry.verdict]
        create_table_artifact(key=key, table=rows, description=f"{entry.name} version {entry.version}: {entry.action}")
