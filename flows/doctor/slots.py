"""Slots of the server's GPU limit that killed flows have not given back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial

from components.core.files import is_gone
from flows.doctor.finding import Finding, NotMended
from flows.doctor.processes import Process, processes
from flows.environment import STARTED_BY
from flows.probe import answers
from flows.project import Project
from flows.running import running

ON_DEVICE = ("train@", "detect@", "export@", "evaluate@", "ood@")


def leaked_slots(project: Project) -> Iterator[Finding]:
    """Slots of this machine's limit that are taken while no flow of this machine has a stage on a device.

    A temporary server has no limit; so there is something to look at only where a server runs.
    """
    api = _server(project)
    if api is None or (taken := _taken(api)) == 0 or _holders(api):
        return
    where = f"{limit_name()} at {api}: {taken:g} taken, and no stage on a device is alive here"
    yield Finding("leaked GPU slots", where, "gives them back", partial(_give_back, api))


def limit_name() -> str:
    """The name of this machine's limit, as ``flows.pipeline`` makes it."""
    return f"gpu-{socket.gethostname()}"


def _server(project: Project) -> str | None:
    up = running(project.root)
    api = os.environ.get("PREFECT_API_URL") or (up.prefect_api if up else None)
    return api if api and answers(f"{api}/health") else None


def _holders(api: str) -> list[Process]:
    """The stages on a device that flows of this server have started, in any clone on this machine."""
    mine = [process for process in processes().values() if process.environment.get("PREFECT_API_URL") == api]
    return [process for process in mine if any(word.startswith(ON_DEVICE) for word in process.words) and _is_wanted(process)]


def _is_wanted(process: Process) -> bool:
    return is_gone(process.environment.get(STARTED_BY, "").partition(" ")[0]) is False


def _taken(api: str) -> float:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(limit_name()).active_slots
        except ObjectNotFound:
            return 0


def _give_back(api: str) -> None:
    if _holders(api):
        raise NotMended("a stage on a device has started meanwhile")
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(limit_name(), GlobalConcurrencyLimitUpdate(active_slots=0))
