"""The doctor and real flows: a killed one is called Crashed, a living one is not touched, a leaked GPU slot comes back."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.core import settings
from flows.services.flow_runs import notes_folder, read_note
from flows.services.prefect_server import answers
from flows.upkeep.doctor import CHECKS, examine, repair
from flows.upkeep.flow_runs import limit_name

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_quiet")]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def training(fake: Any) -> bool:
    return (fake.folder / ".work" / "running" / "train@a").exists()


def doctor(fake: Any, *words: str) -> tuple[int, str]:
    process = fake.flows("doctor", *words)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def states(ids: list[str]) -> list[str]:
    with sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db") as database:
        return [database.execute("select state_type from flow_run where id = ?", (id,)).fetchone()[0] for id in ids]


def test_killed_flow_is_repaired_and_a_living_one_goes_on(new: Any) -> None:
    new.change(lambda content: content["runs"]["a"]["train"].update(seconds=600))
    flow = new.flows("run", "--runs", "a")
    wait_for(lambda: training(new), flow)
    (note,) = notes_folder().iterdir()
    dead = read_note(note)
    assert dead is not None
    flow.kill()
    flow.wait()
    (settings.WORK / "running" / "train@a").unlink()

    code, said = doctor(new)
    assert (code, f"dead flow run: pipeline {dead.name}" in said) == (1, True), said
    assert note.exists()
    code, said = doctor(new, "--fix")
    assert (code, "repaired: sets it to Crashed" in said, ", 0 remain" in said) == (0, True, True), said
    assert states([dead.id]) == ["CRASHED"]

    new.change(lambda content: content["runs"]["a"]["train"].update(seconds=15))
    flow = new.flows("run", "--runs", "a")
    wait_for(lambda: training(new), flow)
    code, said = doctor(new, "--fix")
    assert (code, said) == (0, f"{len(CHECKS)} checks, nothing found\n")
    output, _ = flow.communicate(timeout=180)
    assert flow.returncode == 0, output
    assert not list(notes_folder().iterdir())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Prefect server of the test's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", str(port)]
    env = {**os.environ, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    url = f"http://127.0.0.1:{port}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: answers(f"{url}/health") or process.poll() is not None)
            yield url
        finally:
            process.kill()


def test_leaked_slots_come_back(new: Any, server: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    check = {"gpu slots": CHECKS["gpu slots"]}
    assert examine(new.project(), check) == []
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit_name(), limit=2, active_slots=2))
        (finding,) = examine(new.project(), check)
        assert "2 taken" in finding.where
        assert repair(finding) is None
        assert client.read_global_concurrency_limit_by_name(limit_name()).active_slots == 0
    assert examine(new.project(), check) == []
