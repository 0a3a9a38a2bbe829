"""The servers that ``up`` started: their addresses, and the wish that a scoring server should take the new champion."""

from __future__ import annotations

import fcntl
import json
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.files import is_gone, write_json
from components.core.settings import ROOT
from flows.project import Project

RENEWAL = 1.0  # seconds after which the supervisor writes a note that is lost or spoilt anew
PATIENCE = 180.0  # seconds in which a new champion should be loaded


@dataclass(frozen=True)
class Scored:
    """A scoring server: ``url``, the ``version`` that answers, if any, what went ``wrong`` last, the ``wish`` granted last."""

    url: str
    version: str | None = None
    wrong: str = ""
    wish: str = ""


@dataclass(frozen=True)
class State:
    """What the supervisor notes in ``.work/up.json``; ``processes``: identity -> name of what it started.

    ``settings``: the blocks ``servers`` and ``schedules`` of params.yaml that are in force.
    """

    supervisor: str
    root: str
    prefect_api: str
    mlflow_uri: str
    ready: bool = False
    scoring: dict[str, Scored] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """Servers that are up; ``scoring``: run -> address of its champion."""

    supervisor: str
    prefect_api: str
    mlflow_uri: str
    scoring: dict[str, str]


def running(root: Path = ROOT) -> Running | None:
    """The servers that ``up`` started here, if their supervisor is alive and all of them have answered once."""
    state = noted()
    if state is None or state.root != str(root) or not state.ready or is_gone(state.supervisor) is not False:
        return None
    scoring = {name: scored.url for name, scored in state.scoring.items()}
    return Running(state.supervisor, state.prefect_api, state.mlflow_uri, scoring)


def restart_scoring(name: str) -> str | None:
    """Have the present champion of the registered name served; what answers now, in words. None where ``up`` does not serve it.

    The old version goes on until the new one answers; where that does not start, the words say so.
    """
    up = running()
    if up is None or name not in up.scoring:
        return None
    wish = uuid.uuid4().hex
    write_json(wish_file(name), {"wish": wish})
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = read_state()
        if state is None or is_gone(state.supervisor):
            return None
        if (scored := state.scoring[name]).wish == wish:
            return in_words(scored)
        time.sleep(0.1)
    return f"{up.scoring[name]} has not taken the new champion within {PATIENCE:g} s; {log_file(f'scoring-{name}')} says more"


def in_words(scored: Scored) -> str:
    """What answers at the address."""
    now = f"answers with version {scored.version}" if scored.version else "does not answer"
    return f"{scored.url} {now}" + (f" ({scored.wrong})" if scored.wrong else "")


def state_file() -> Path:
    """Where the supervisor notes what it runs."""
    return settings.WORK / "up.json"


def wish_file(name: str) -> Path:
    """Where the wish for another champion is put."""
    return settings.WORK / "up" / f"{name}.json"


def log_file(name: str) -> Path:
    """The log of the supervisor ("up") or of what it runs."""
    return settings.WORK / "logs" / f"{name}.log"


def write_state(state: State) -> None:
    """Note the state, whole or not at all."""
    write_json(state_file(), asdict(state))


def read_state() -> State | None:
    """The supervisor's note; None where there is none, or none that can be read."""
    content = read_json(state_file())
    try:
        return State(**content | {"scoring": {name: Scored(**entry) for name, entry in content["scoring"].items()}})
    except (TypeError, KeyError, AttributeError):
        return None


def in_force(project: Project) -> dict[str, Any]:
    """The blocks of params.yaml that ``up`` reads when it starts."""
    return {"servers": project.params.servers, "schedules": project.params.schedules}


def noted() -> State | None:
    """The note of a living supervisor, which writes a lost or spoilt one anew; else what the file says."""
    deadline = time.monotonic() + RENEWAL + 5.0
    while held() and time.monotonic() < deadline:
        state = read_state()
        if state is not None and is_gone(state.supervisor) is False:
            return state
        time.sleep(0.1)
    return read_state()


def held() -> bool:
    """Whether a supervisor is at work here; it holds the lock as long as it lives."""
    try:
        with lock_file().open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def lock_file() -> Path:
    """What the supervisor holds."""
    return settings.WORK / "locks" / "up"


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty where there is none, or something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
