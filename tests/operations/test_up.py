"""``up`` and ``down`` as processes: what dies comes back, what is ended leaves nothing, a champion changes without a gap."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from operating import Home, alive, wait_for
from workbench import run

from components.core import settings
from components.core.files import is_gone
from flows.services.prefect_server import answers
from flows.services.running import ServersState, read_state

pytestmark = pytest.mark.slow

# Another version with the same files: what a second training would register.
AGAIN = """
from components.registry.tracking import connect
client = connect()
first = client.get_model_version("own", "1")
print(client.create_model_version("own", first.source, run_id=first.run_id).version)
"""
CHAMPION = """
import sys
from components.registry import model_registry as registry
from components.registry.tracking import connect
from flows.services.running import restart_scoring
registry.set_alias(connect(), "own", "champion", int({version!r}))
print(restart_scoring("own"))
"""


@pytest.fixture(scope="module")
def up(home: Home) -> Iterator[Home]:
    """The project with one published version and its servers up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "WORK", home.folder / ".work")
        home.write(lambda content: content.update(schedules={"pipeline": "0 2 * * *", "time_zone": "Europe/Berlin"}))
        run("dvc", "repro", "evaluate@own", cwd=home.folder, **home.env())
        done = home.flows("up")
        assert done.returncode == 0, done.stderr
        assert "pipeline/darkroom  0 2 * * * (Europe/Berlin)" in done.stdout
        assert "does not answer (there is no champion yet)" in done.stdout
        yield home


def state() -> ServersState:
    found = read_state()
    assert found is not None
    return found


def processes(name: str) -> list[str]:
    return [process for process, own in state().processes.items() if own == name]


def command_of(leash: str) -> int:
    """The pid behind a leash, or 0 while there is none."""
    pid = leash.split(":")[1]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int((children.read_text().split() or ["0"])[0]) if children.exists() else 0


def port() -> int:
    return int(state().scoring["own"].url.rpartition(":")[2])


class Stream(threading.Thread):
    """A steady stream of requests with one image; ``answers``: (time, version), ``errors``."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.answers: list[tuple[float, str]] = []
        self.errors: list[str] = []
        self.enough = threading.Event()
        self._body = json.dumps({"inputs": {"image": [[[[200] * 3] * 16] * 16]}})

    def run(self) -> None:
        while not self.enough.wait(0.01):
            try:
                self.answers.append((time.monotonic(), ask(self._body)))
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))

    def until(self, version: str) -> None:
        """Wait until the version answers."""
        wait_for(lambda: self.answers and self.answers[-1][1] == version, f"an answer of version {version}")

    def end(self) -> None:
        self.enough.set()
        self.join()

    @property
    def gap(self) -> float:
        """Seconds, at most, between two answers."""
        times = [when for when, _ in self.answers]
        return max(later - earlier for earlier, later in pairwise(times))


def ask(body: str) -> str:
    """The version that answers a prediction."""
    connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=60)
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    assert (answer.status, content["predictions"]["class_name"][0] in ("light", "dark")) == (200, True), content
    return str(answer.headers["X-Darkroom-Version"])


def test_both_servers_answer_on_loopback_and_a_second_up_starts_nothing(up: Home) -> None:
    before = state()
    assert answers(f"{before.prefect_api}/health")
    assert answers(f"{before.mlflow_uri}/health")
    done = up.flows("up")
    assert (done.returncode, done.stdout.splitlines()[0].startswith("up already")) == (0, True)
    assert state() == before
    listening = [line.split()[1] for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    servers = up.params["servers"]
    for number in (servers["prefect_port"], servers["mlflow_port"]):
        hosts = {place.split(":")[0] for place in listening if int(place.split(":")[1], 16) == number}
        assert "0100007F" in hosts
        assert not hosts & {"00000000", "0" * 32}, "on every interface"


def test_mlflow_answers_no_foreign_name(up: Home) -> None:
    """A page whose name was made to lead to loopback is no way in."""
    connection = http.client.HTTPConnection("127.0.0.1", up.params["servers"]["mlflow_port"], timeout=30)
    statuses = {}
    for host in ("localhost", "evil.example"):
        connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        statuses[host] = answer.status
    connection.close()
    assert (statuses["localhost"], statuses["evil.example"]) == (200, 403)


def test_promotion_and_rollback_change_the_answering_version_without_a_gap(up: Home) -> None:
    assert "answers with version 1" in up.python(CHAMPION.format(version="1"))
    assert up.python(AGAIN).strip() == "2"
    stream = Stream(up)
    stream.start()
    try:
        stream.until("1")
        assert "answers with version 2" in up.python(CHAMPION.format(version="2"))
        promoted = len(stream.answers)
        stream.until("2")
        assert "answers with version 1" in up.python(CHAMPION.format(version="1"))
        rolled_back = len(stream.answers)
        wait_for(lambda: len(stream.answers) > rolled_back + 20, "more answers")
    finally:
        stream.end()
    assert stream.errors == []
    # Once the call has returned, only the new version answers (the first answer may have been under way).
    assert {version for _, version in stream.answers[promoted + 1 : promoted + 3]} <= {"2"}
    assert {version for _, version in stream.answers[rolled_back + 1 :]} == {"1"}
    print(f"longest time between two answers: {stream.gap:.2f} s over {len(stream.answers)} requests")


def test_a_champion_that_does_not_load_leaves_the_old_one_answering(up: Home) -> None:
    broken = """
from components.registry.tracking import connect
client = connect()
print(client.create_model_version("own", "file:///no/such/model").version)
"""
    version = up.python(broken).strip()
    told = up.python(CHAMPION.format(version=version))
    assert "answers with version 1 (exit code" in told
    assert "answers with version 1" in up.python(CHAMPION.format(version="1"))


@pytest.mark.parametrize("name", ["scoring-own", "prefect", "mlflow", "serve"])
def test_what_is_killed_comes_back(up: Home, name: str) -> None:
    (before,) = processes(name)
    os.kill(wait_for(lambda: command_of(before), f"the command of {name}"), signal.SIGKILL)
    wait_for(lambda: is_gone(before), f"the end of {name}", 60)
    (after,) = wait_for(lambda: [p for p in processes(name) if p != before and not is_gone(p)], f"a new {name}")
    assert after != before
    addresses = {"prefect": f"{state().prefect_api}/health", "mlflow": f"{state().mlflow_uri}/health"}
    if name in addresses:
        wait_for(lambda: answers(addresses[name]), f"{name} to answer")
    if name.startswith("scoring"):
        wait_for(lambda: state().scoring["own"].version == "1", "the champion to answer")
        assert ask(json.dumps({"inputs": {"image": [[[[10] * 3] * 16] * 16]}})) == "1"


def test_a_killed_supervisor_leaves_nothing_and_up_comes_up_again(up: Home) -> None:
    old = state()
    os.kill(int(old.supervisor.split(":")[1]), signal.SIGKILL)
    done = up.flows("up")  # waits for what is still ending and holds the ports
    assert done.returncode == 0, done.stderr
    assert all(is_gone(process) for process in old.processes)
    assert state().supervisor != old.supervisor
    assert "answers with version 1" in done.stdout


def test_down_ends_all_of_it_and_nothing_else(up: Home) -> None:
    with up.started("stranger", "sleep", "300") as stranger:
        assert up.flows("down").stdout == "down\n"
        wait_for(lambda: all("sleep 300" in words for words in alive(up.folder)), "the end of every server", 30)
        assert Path(f"/proc/{stranger}").exists()
    assert read_state() is None
    assert up.flows("down").stdout == "nothing is up\n"


def test_a_taken_port_stops_what_was_begun(up: Home) -> None:
    number = up.params["servers"]["mlflow_port"]
    with socket.create_server(("127.0.0.1", number)):
        done = up.flows("up")
    assert done.returncode == 2
    assert f"servers.mlflow_port: port {number} of 127.0.0.1 cannot be used" in done.stderr
    assert alive(up.folder) == []


def test_a_server_that_does_not_come_up_is_shown_with_its_last_words(up: Home) -> None:
    done = up.flows("up", PREFECT_SERVER_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////no/such/folder/prefect.db")
    assert done.returncode == 1
    assert "prefect did not start" in done.stderr
    assert "unable to open database file" in done.stderr
    assert alive(up.folder) == []
