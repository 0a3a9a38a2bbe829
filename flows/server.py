"""Prefect's server for the length of one pipeline run, when the user has none."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from flows.environment import for_children
from flows.processes import TAIL, leashed
from flows.project import Project

IS_TEMPORARY = "DARKROOM_TEMPORARY_SERVER"  # set for the flow in this process
PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
# As Prefect starts its own temporary server (SubprocessASGIServer of 3.8.8): no UI, few services, migrations on start.
TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class ServerFailed(Exception):
    """The temporary server did not come up."""


class Server:
    """A server that answers at PREFECT_API_URL: the user's, or a temporary one that is still starting."""

    def __init__(self, process: subprocess.Popen[bytes] | None, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def temporary(self) -> bool:
        """Whether it ends with this pipeline run."""
        return self._process is not None

    def wait_until_healthy(self) -> None:
        """Return when the server answers; ServerFailed when it ends or takes too long."""
        deadline = time.monotonic() + float(os.environ[PATIENCE])
        while self._process is not None and not _answers(f"{os.environ['PREFECT_API_URL']}/health"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL:])
                raise ServerFailed(f"Prefect's temporary server did not start; the end of {self._log}:\n{tail}")
            time.sleep(0.05)


def start_server(project: Project) -> Server:
    """Set PREFECT_API_URL to a server that is starting, unless the user has set it. Call before Prefect is imported.

    Prefect's own temporary server outlives a flow that is killed; this one is on a leash, and starts while Prefect is imported.
    It is stopped at exit, after Prefect's own exit handlers have sent their last logs and events (they would wait a minute).
    """
    home = Path(os.environ["PREFECT_HOME"])
    if os.environ.get("PREFECT_API_URL"):
        return Server(None, home)
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            leashed(command, 5.0),
            env=for_children(project, **TEMPORARY),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    os.environ.setdefault("PREFECT_UI_URL", "")  # it has none
    for name in ("NO_PROXY", "no_proxy"):  # a proxy cannot reach it
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    os.environ[IS_TEMPORARY] = "1"
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    atexit.register(_stop, process)
    return Server(process, log)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False
