"""Servers of ``up``: the supervisor's state file, and reload requests after a promotion."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.files import is_gone, is_locked, read_json, write_json
from components.core.settings import ROOT
from flows.project import Project

RENEWAL = 1.0  # seconds until the supervisor rewrites a lost or damaged state file
PATIENCE = 180.0  # seconds for loading a new champion


@dataclass(frozen=True)
class ScoringState:
    """A scoring server: the ``version`` served at ``url``, its last ``error`` and last completed ``reload_request``.

    ``gave_up``: the champion did not load, and is not tried again before the next reload request.
    """

    url: str
    version: str | None = None
    error: str = ""
    reload_request: str = ""
    gave_up: bool = False


@dataclass(frozen=True)
class ServersState:
    """Content of the state file ``.work/up.json``. ``processes``: identity -> name of the supervisor's children.

    ``settings``: the blocks ``servers`` and ``schedules`` of params.yaml at the start.
    """

    supervisor: str
    root: str
    prefect_api: str
    mlflow_uri: str
    ready: bool = False
    scoring: dict[str, ScoringState] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunningServers:
    """Servers that are up; ``scoring``: run -> address of its champion."""

    supervisor: str
    prefect_api: str
    mlflow_uri: str
    scoring: dict[str, str]


def running(root: Path = ROOT) -> RunningServers | None:
    """Return the servers that ``up`` started here, if their supervisor is alive and all of them were ready once."""
    state = live_state()
    if state is None or state.root != str(root) or not state.ready or is_gone(state.supervisor) is not False:
        return None
    scoring = {name: scored.url for name, scored in state.scoring.items()}
    return RunningServers(state.supervisor, state.prefect_api, state.mlflow_uri, scoring)


def restart_scoring(name: str) -> str | None:
    """Request a reload of the champion; return a text on what is served now, None if ``up`` does not serve the model.

    The old version is served until the new one is ready; if that fails to start, the text says so.
    """
    up = running()
    if up is None or name not in up.scoring:
        return None
    request = uuid.uuid4().hex
    write_json(reload_request_file(name), {"request": request})
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = read_state()
        if state is None or is_gone(state.supervisor):
            return None
        if (scored := state.scoring[name]).reload_request == request:
            return describe_scoring(scored)
        time.sleep(0.1)
    return f"{up.scoring[name]} has not taken the new champion within {PATIENCE:g} s; {log_file(f'scoring-{name}')} says more"


def describe_scoring(scored: ScoringState) -> str:
    """Describe what is served at the address."""
    now = f"answers with version {scored.version}" if scored.version else "does not answer"
    return f"{scored.url} {now}" + (f" ({scored.error})" if scored.error else "")


def given_up(name: str) -> str:
    """Return why the model's scoring server has given up the champion; "" if it has not, or there is no such server."""
    state = read_state()
    scored = state.scoring.get(name) if state is not None and is_gone(state.supervisor) is False else None
    return scored.error if scored is not None and scored.gave_up else ""


def state_file() -> Path:
    """Return the path of the supervisor's state file."""
    return settings.WORK / "up.json"


def reload_request_file(name: str) -> Path:
    """Return the path of the reload request for a model."""
    return settings.WORK / "up" / f"{name}.json"


def log_file(name: str) -> Path:
    """Return the path of the log of the supervisor ("up") or a service."""
    return settings.WORK / "logs" / f"{name}.log"


def write_state(state: ServersState) -> None:
    """Write the state file."""
    write_json(state_file(), asdict(state))


def read_state() -> ServersState | None:
    """Read the state file; None if there is none, or it is not readable."""
    content = read_json(state_file())
    try:
        return ServersState(
            **content | {"scoring": {name: ScoringState(**entry) for name, entry in content["scoring"].items()}}
        )
    except (TypeError, KeyError, AttributeError):
        return None


def settings_in_force(project: Project) -> dict[str, Any]:
    """Return the blocks of params.yaml that ``up`` reads at its start."""
    return {"servers": project.params.servers, "schedules": project.params.schedules}


def live_state() -> ServersState | None:
    """Read the state file, waiting for a running supervisor to rewrite a lost or damaged one."""
    deadline = time.monotonic() + RENEWAL + 5.0
    while is_supervised() and time.monotonic() < deadline:
        state = read_state()
        if state is not None and is_gone(state.supervisor) is False:
            return state
        time.sleep(0.1)
    return read_state()


def is_supervised() -> bool:
    """Whether a supervisor is running here, by its lock."""
    return is_locked(lock_file())


def lock_file() -> Path:
    """Return the path of the supervisor's lock."""
    return settings.WORK / "locks" / "up"
