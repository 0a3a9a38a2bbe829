"""Prefect's server: health checks, and a temporary server for one pipeline run."""

from __future__ import annotations

import atexit
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from flows.environment import ask_loopback_directly
from flows.processes import TAIL, guarded
from flows.project import Project, for_children
from flows.services.running import running

IS_TEMPORARY = "DARKROOM_TEMPORARY_SERVER"  # set for the flow in this process
PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
# As Prefect starts its own temporary server (SubprocessASGIServer of 3.8.8): no UI, few services, migrations on start.
TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

MAX_STARTS = 10  # of one temporary server
KILLED = 128 + signal.SIGKILL  # the exit code of its process guard if it was killed


class ServerFailed(Exception):
    """The temporary server did not start."""


class RestartedProcess:
    """A process that is restarted, with the same port and database, whenever it is killed; until ``stop``.

    Without its server a flow would complete its stages, then time out on every event, and fail.
    """

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self._command, self._env = command, env
        self._active = threading.Event()
        self._active.set()
        self._process = self._start("wb")
        threading.Thread(target=self._restart_when_killed, name="temporary server", daemon=True).start()

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Stop the process and do not restart it."""
        self._active.clear()
        self._process.terminate()
        self._process.wait()

    def _restart_when_killed(self) -> None:
        for _ in range(MAX_STARTS - 1):
            self._process.wait()
            if not self._active.is_set() or self._process.returncode != KILLED:
                return
            # Start it in this thread, which lives on: the process guard treats the end of its thread as the parent's death.
            self._process = self._start("ab")

    def _start(self, mode: str) -> subprocess.Popen[bytes]:
        with self.log.open(mode) as output:
            return subprocess.Popen(
                guarded(self._command, 5.0),
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


class PrefectServer:
    """The server at PREFECT_API_URL: the user's, or a temporary one, which may still be starting."""

    def __init__(self, process: RestartedProcess | None, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def temporary(self) -> bool:
        """Whether it ends with this pipeline run."""
        return self._process is not None

    def wait_until_healthy(self) -> None:
        """Wait until the server answers; ServerFailed if it ends or takes too long."""
        deadline = time.monotonic() + float(os.environ[PATIENCE])
        while self._process is not None and not answers(f"{os.environ['PREFECT_API_URL']}/health"):
            if self._process.ended() or time.monotonic() > deadline:
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL:])
                raise ServerFailed(f"Prefect's temporary server did not start; the end of {self._log}:\n{tail}")
            time.sleep(0.05)


def start_server(project: Project) -> PrefectServer:
    """Start a temporary server and set PREFECT_API_URL, unless the user has set it. Call it before Prefect is imported.

    Prefect's own temporary server outlives a killed flow; this one is behind a process guard, and starts while Prefect is
    imported. It stops at exit, after Prefect's exit handlers have sent the last logs and events; without it they would wait
    a minute.
    """
    home = Path(os.environ["PREFECT_HOME"])
    up = None if os.environ.get("PREFECT_API_URL") else running(project.root)
    if up is not None:
        os.environ["PREFECT_API_URL"] = up.prefect_api
        ask_loopback_directly()
    if os.environ.get("PREFECT_API_URL"):
        return PrefectServer(None, home)
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    process = RestartedProcess(command, for_children(project, **TEMPORARY), home / "server.log")
    os.environ.setdefault("PREFECT_UI_URL", "")  # it has none
    ask_loopback_directly()
    os.environ[IS_TEMPORARY] = "1"
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    atexit.register(process.stop)
    return PrefectServer(process, process.log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether a GET of ``url`` is answered with 200 within ``seconds``."""
    return _status(url, seconds) == http.HTTPStatus.OK


def listens(url: str, seconds: float = 5.0) -> bool:
    """Whether a GET of ``url`` is answered within ``seconds``, with any status, such as 401."""
    return _status(url, seconds) is not None


def _status(url: str, seconds: float) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException, ValueError):
        return None
