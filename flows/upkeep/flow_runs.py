"""Leftovers of killed flows on a Prefect server: runs that are still RUNNING, and slots of its GPU limit."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from uuid import UUID

from components.core.files import is_gone
from flows.project import STARTED_BY, Project
from flows.services.flow_runs import FlowRunNote, notes_folder, read_note
from flows.services.prefect_server import answers, start_server
from flows.services.running import running
from flows.upkeep.doctor import Finding, RepairFailed
from flows.upkeep.processes import RunningProcess, processes

ON_DEVICE = ("train@", "detect@", "export@", "evaluate@", "ood@")
UNFINISHED = ("RUNNING", "PENDING", "CANCELLING", "SCHEDULED", "PAUSED")


def dead_flow_runs(project: Project) -> Iterator[Finding]:
    """Find notes of flow runs whose process is gone."""
    for note in sorted(notes_folder().glob("*")):
        run = read_note(note)
        if run is None and note.is_file():
            yield Finding("note of a flow run cannot be read", str(note), "removes it", partial(note.unlink, missing_ok=True))
        elif run is not None and is_gone(run.process):
            where = f"{run.flow} {run.name} ({run.id}): its process {run.process} is gone"
            yield Finding("dead flow run", where, "sets it to Crashed", partial(_crash, project, note, run))


def _crash(project: Project, note: Path, run: FlowRunNote) -> None:
    """Set the run to Crashed if it is unfinished on its server, then remove the note."""
    api = _server_of(project, run)
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Crashed

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run.id)).state
        except ObjectNotFound:
            state = None
        if state is not None and state.type in UNFINISHED:
            client.set_flow_run_state(UUID(run.id), Crashed(message=f"process {run.process} was killed"), force=True)
    note.unlink(missing_ok=True)


def _server_of(project: Project, run: FlowRunNote) -> str:
    """Return the address of a server that knows the run."""
    if run.api and answers(f"{run.api}/health"):
        return run.api
    if run.api and not _is_own(run.api):
        raise RepairFailed(f"the Prefect server {run.api} does not answer; when it does again, run doctor again")
    return _own_server(project)


@cache
def _own_server(project: Project) -> str:
    """Return a server on the local database: that of ``up``, or a temporary one."""
    user_api = os.environ.pop("PREFECT_API_URL", None)
    try:
        start_server(project).wait_until_healthy()
        return os.environ["PREFECT_API_URL"]
    finally:
        if user_api is not None:
            os.environ["PREFECT_API_URL"] = user_api


def _is_own(api: str) -> bool:
    """Whether the address is on this machine, whose servers use the local database."""
    return any(f"//{host}" in api for host in ("127.0.0.1", "localhost"))


def leaked_slots(project: Project) -> Iterator[Finding]:
    """Find occupied slots of this machine's limit although no stage of this machine uses a device.

    A temporary server has no limit, so this checks a running server only.
    """
    api = _server(project)
    if api is None or (num_taken := _active_slots(api)) == 0 or _holders(api):
        return
    where = f"{limit_name()} at {api}: {num_taken:g} taken, and no stage on a device is alive here"
    yield Finding("leaked GPU slots", where, "releases them", partial(_release_slots, api))


def limit_name() -> str:
    """Return the name of this machine's limit, which ``flows.pipeline.flow`` creates."""
    return f"gpu-{socket.gethostname()}"


def _server(project: Project) -> str | None:
    up = running(project.root)
    api = os.environ.get("PREFECT_API_URL") or (up.prefect_api if up else None)
    return api if api and answers(f"{api}/health") else None


def _holders(api: str) -> list[RunningProcess]:
    """Return the processes of stages on a device that flows of this server started, in any clone on this machine."""
    mine = [process for process in processes().values() if process.environment.get("PREFECT_API_URL") == api]
    return [process for process in mine if any(word.startswith(ON_DEVICE) for word in process.words) and _has_flow(process)]


def _has_flow(process: RunningProcess) -> bool:
    return is_gone(process.environment.get(STARTED_BY, "").partition(" ")[0]) is False


def _active_slots(api: str) -> float:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(limit_name()).active_slots
        except ObjectNotFound:
            return 0


def _release_slots(api: str) -> None:
    if _holders(api):
        raise RepairFailed("a stage on a device has started meanwhile")
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(limit_name(), GlobalConcurrencyLimitUpdate(active_slots=0))
