"""What the tools read from the environment: set before Prefect is imported, and handed to every child process."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

from components.core import settings
from components.core.files import this_process
from flows.project import Project

QUIET = {
    # MLflow takes only the word "true"; Prefect's server reports home unless its own switch is off as well.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    # No server and no client of ours opens a pickled model: it would run whatever its maker wishes.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
READABLE = {
    # Lines of a stage carry the stage's name; Prefect's own lines say what happened and no more.
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  [%(task_run_name)s] %(message)s",
    "PREFECT_LOGGING_LOGGERS_PREFECT_EVENTS_LEVEL": "ERROR",
}

STARTED_BY = "DARKROOM_STARTED_BY"  # of a child and all it starts: identity of the process that wants it, and its state folder


def set_defaults() -> None:
    """Defaults for this process and its children; what the user has set stays.

    The state of Prefect stands in a folder a version: its database migrations do not go back.
    """
    home = {"PREFECT_HOME": str(settings.WORK / f"prefect-{version('prefect')}")}
    # Prefect's own 20 s are too short for a first start on a busy machine (16-24 s measured).
    patience = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    for name, value in {**home, **patience, **QUIET, **READABLE}.items():
        os.environ.setdefault(name, value)


def ask_loopback_directly() -> None:
    """Let no proxy of the environment stand between this machine's processes: it could not reach them."""
    for name in ("NO_PROXY", "no_proxy"):
        given = os.environ.get(name, "").split(",")
        os.environ[name] = ",".join(filter(None, dict.fromkeys([*given, "127.0.0.1", "localhost"])))


def for_children(project: Project, **extra: str) -> dict[str, str]:
    """The environment of a child: this interpreter's programs first in PATH, output unbuffered so that lines come at once."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    own = {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(project.root)}
    return {**os.environ, **QUIET, **own, STARTED_BY: f"{this_process()} {settings.WORK}", **extra}
