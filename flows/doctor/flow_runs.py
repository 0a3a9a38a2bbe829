"""Flow runs that a server believes to be running though their process is gone, by the notes of ``flows.presence``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from uuid import UUID

from components.core.files import is_gone
from flows import presence
from flows.doctor.finding import Finding, NotMended
from flows.presence import Presence
from flows.probe import answers
from flows.project import Project
from flows.server import start_server

UNFINISHED = ("RUNNING", "PENDING", "CANCELLING", "SCHEDULED", "PAUSED")


def dead_flow_runs(project: Project) -> Iterator[Finding]:
    """Notes of flow runs whose process has gone without removing them."""
    for note in sorted(presence.folder().glob("*")):
        run = presence.read(note)
        if run is None and note.is_file():
            yield Finding("note of a flow run cannot be read", str(note), "removes it", partial(note.unlink, missing_ok=True))
        elif run is not None and is_gone(run.process):
            where = f"{run.flow} {run.name} ({run.id}): its process {run.process} is gone"
            yield Finding("dead flow run", where, "calls it Crashed", partial(_crash, project, note, run))


def living_flow_runs() -> list[Presence]:
    """The flow runs of this workspace whose process lives, or may live on another machine."""
    found = (presence.read(note) for note in presence.folder().glob("*"))
    return [run for run in found if run is not None and not is_gone(run.process)]


def _crash(project: Project, note: Path, run: Presence) -> None:
    """Set the run's state where its server still takes it for unfinished; then the note has done its work."""
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


def _server_of(project: Project, run: Presence) -> str:
    """The address of a server that knows the run."""
    if run.api and answers(f"{run.api}/health"):
        return run.api
    if run.api and not _is_own(run.api):
        raise NotMended(f"the Prefect server {run.api} does not answer; when it does again, run doctor again")
    return _own_server(project)


@cache
def _own_server(project: Project) -> str:
    """The server over the own database: that of ``up``, or a temporary one."""
    given = os.environ.pop("PREFECT_API_URL", None)
    try:
        start_server(project).wait_until_healthy()
        return os.environ["PREFECT_API_URL"]
    finally:
        if given is not None:
            os.environ["PREFECT_API_URL"] = given


def _is_own(api: str) -> bool:
    """Whether the address is of this machine, where servers work on the own database."""
    return any(f"//{host}" in api for host in ("127.0.0.1", "localhost"))
