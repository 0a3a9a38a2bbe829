"""Prefect's server for the length of one pipeline run, when the user has none."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from flows.environment import ask_loopback_directly, for_children
from flows.probe import answers
from flows.processes import TAIL, leashed
from flows.project import Project
from flows.running import running

IS_TEMPORARY = "DARKROOM_TEMPORARY_SERVER"  # set for the flow in this process
PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
# As Prefect starts its own temporary server (SubprocessASGIServer of 3.8.8): no UI, few services, migrations on start.
TEMPORARY = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

STARTS = 10  # of one temporary server, at most
KILLED = 128 + signal.SIGKILL  # what its leash says of one that was killed


class ServerFailed(Exception):
    """The temporary server did not come up."""


class Kept:
    """A process that is started again when something kills it, until ``stop``: its port and its database are the same.

    Without its server a flow would do its work and then wait for minutes, event by event, and fail.
    """

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self._command, self._env = command, env
        self._wanted = threading.Event()
        self._wanted.set()
        self._process = self._start("wb")
        threading.Thread(target=self._keep, name="temporary server", daemon=True).start()

    def ended(self) -> bool:
        """Whether it is not there now."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it, and let it be."""
        self._wanted.clear()
        self._process.terminate()
        self._process.wait()

    def _keep(self) -> None:
        for _ in range(STARTS - 1):
            self._process.wait()
            if not self._wanted.is_set() or self._process.returncode != KILLED:
                return
            self._process = self._start("ab")  # by this thread, which outlives it: the leash takes its end for the flow's

    def _start(self, mode: str) -> subprocess.Popen[bytes]:
        with self.log.open(mode) as output:
            return subprocess.Popen(
                leashed(self._command, 5.0),
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


class Server:
    """A server that answers at PREFECT_API_URL: the user's, or a temporary one that is still starting."""

    def __init__(self, process: Kept | None, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def temporary(self) -> bool:
        """Whether it ends with this pipeline run."""
        return self._process is not None

    def wait_until_healthy(self) -> None:
        """Return when the server answers; ServerFailed when it ends or takes too long."""
        deadline = time.monotonic() + float(os.environ[PATIENCE])
        while self._process is not None and not answers(f"{os.environ['PREFECT_API_URL']}/health"):
            if self._process.ended() or time.monotonic() > deadline:
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-TAIL:])
                raise ServerFailed(f"Prefect's temporary server did not start; the end of {self._log}:\n{tail}")
            time.sleep(0.05)


def start_server(project: Project) -> Server:
    """Set PREFECT_API_URL to a server that is starting, unless the user has set it. Call before Prefect is imported.

    Prefect's own temporary server outlives a flow that is killed; this one is on a leash, and starts while Prefect is imported.
    It is stopped at exit, after Prefect's own exit handlers have sent their last logs and events (they would wait a minute).
    """
    home = Path(os.environ["PREFECT_HOME"])
    up = None if os.environ.get("PREFECT_API_URL") else running(project.root)
    if up is not None:
        os.environ["PREFECT_API_URL"] = up.prefect_api
        ask_loopback_directly()
    if os.environ.get("PREFECT_API_URL"):
        return Server(None, home)
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    process = Kept(command, for_children(project, **TEMPORARY), home / "server.log")
    os.environ.setdefault("PREFECT_UI_URL", "")  # it has none
    ask_loopback_directly()
    os.environ[IS_TEMPORARY] = "1"
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    atexit.register(process.stop)
    return Server(process, process.log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
