"""A project in git that clones are made of, and servers for the length of a test."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workbench import ROOT, environment, free_ports, make_project, run, toy_params

from flows.processes import guarded
from flows.services.prefect_server import answers

PATIENCE = 180.0  # seconds; a server on a busy machine may need a minute
QUIET = {"DO_NOT_TRACK": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1"}


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


class Yard:
    """A folder for clones, servers and their logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def origin(self, storage: str | None) -> Path:
        """The project, committed: two runs, and the remote ``storage`` by which clones share."""
        params = toy_params(steps=10, ema_decay=0.5)
        params["runs"]["other"] = copy.deepcopy(params["runs"]["toy"])
        params["runs"]["other"]["train"]["seed"] = 1
        params["links"]["toy_other"]["from"] = "outputs/views/turned"
        params["links"]["other_other"] = params["links"]["toy_other"] | {"run": "other"}
        del params["views"]["plain"]
        params["pipeline"] = {"runs": ["toy"]} | ({"remote": "storage"} if storage else {})
        folder = make_project(self.folder / "origin", params)
        shutil.copyfile(ROOT / "prefect.yaml", folder / "prefect.yaml")
        if storage:
            run("dvc", "remote", "add", "--default", "storage", storage, cwd=folder)
        run("git", "add", "--all", cwd=folder)
        run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message=all", cwd=folder)
        return folder

    def clone(self, name: str) -> Path:
        """A clone of the project."""
        run("git", "clone", "--quiet", "origin", name, cwd=self.folder)
        return self.folder / name

    def env(self, folder: Path, **extra: str) -> dict[str, str]:
        """For a process that works in a clone of its own state."""
        own = {"DARKROOM_WORK": str(folder / ".work"), "PYTHONPATH": str(folder), "DVC_SITE_CACHE_DIR": str(folder / ".site")}
        return environment(**QUIET, **own, **extra)

    @contextmanager
    def started(self, name: str, command: list[str], folder: Path, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command behind a process guard, its output in ``<name>.log``, ended with all it started."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                guarded(command, 10.0),
                cwd=folder,
                env=self.env(folder, **extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def log(self, name: str) -> str:
        """The output of a command that ``started`` started."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.is_file() else ""

    @contextmanager
    def server(self, name: str, command: list[str], url: str, **extra: str) -> Iterator[None]:
        """A server that answers at ``url``."""
        with self.started(name, command, self.folder, **extra) as process:
            wait_for(lambda: answers(url) or process.poll() is not None, f"{name} to answer")
            assert process.poll() is None, self.log(name)[-4000:]
            yield

    @contextmanager
    def prefect(self, **extra: str) -> Iterator[str]:
        """Prefect's server; the address of its API."""
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--log-level", "error"]
        api = f"http://127.0.0.1:{port}/api"
        home = str(self.folder / "prefect")
        with self.server("prefect", command, f"{api}/health", PREFECT_HOME=home, PREFECT_UI_ENABLED="0", **extra):
            yield api

    @contextmanager
    def mlflow(self, store: str) -> Iterator[str]:
        """MLflow's server over ``store``, which takes and gives artifacts itself; its address."""
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", store, "--artifacts-destination", str(self.folder / "artifacts")]
        uri = f"http://127.0.0.1:{port}"
        with self.server("mlflow", command, f"{uri}/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"):
            yield uri


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A fresh yard."""
    return Yard(tmp_path)
