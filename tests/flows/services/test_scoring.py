"""Loading a champion into service is bounded in time and tries; what was served before goes on being served."""

from __future__ import annotations

from typing import ClassVar

import pytest

from components.core import settings
from components.core.errors import EXIT
from components.core.files import write_json
from flows.services import scoring
from flows.services.running import reload_request_file
from flows.services.scoring import LOAD, TRIES, ScoringServer


class Child:
    """A process that does as the test says: ``line`` once it is ready, ``code`` once it has ended."""

    made: ClassVar[list[Child]] = []

    def __init__(self, *arguments, **options) -> None:
        self.ready_line, self.code, self.started, self.stopped = "", None, scoring.time.monotonic(), False
        Child.made.append(self)

    def request_stop(self) -> None:
        self.code = 0

    def stop(self) -> None:
        self.stopped, self.code = True, -9

    def stop_if_late(self) -> None: ...

    def close(self) -> None: ...


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "WORK", tmp_path)
    monkeypatch.setattr(scoring, "Child", Child)
    monkeypatch.setattr(scoring, "time", Clock())
    Child.made = []
    service, listening = type("Service", (), {"name": "scoring-m"})(), type("Socket", (), {"fileno": lambda self: 3})()
    told: list[str] = []
    found = ScoringServer("m", service, listening, "http://x", tmp_path, on_give_up=told.append)
    found.told = told
    return found


def run(server, seconds: float = 3600.0, step: float = 5.0) -> None:
    """Let time pass, while each new process ends with ``server.ends`` (None: it hangs)."""
    for _ in range(int(seconds / step)):
        scoring.time.now += step
        for child in Child.made:
            if child.code is None and not child.ready_line:
                child.code = server.ends
        server.update()


def serve(server, version: str) -> None:
    server.update()
    Child.made[-1].ready_line = version
    server.update()


def promote(server, request: str) -> None:
    write_json(reload_request_file("m"), {"request": request})


@pytest.mark.parametrize("ends", [1, None])
def test_a_champion_that_fails_or_hangs_is_given_up_while_the_old_one_serves(server, ends):
    serve(server, "1")
    promote(server, "a")
    server.ends = ends
    run(server)
    assert len(Child.made) == 1 + TRIES
    assert (server.state.version, server.state.gave_up, server.state.reload_request) == ("1", True, "a")
    assert f"given up after {TRIES} tries" in server.state.error
    assert server.told == [server.state.error]
    assert all(child.stopped for child in Child.made[1:]) == (ends is None)
    assert Child.made[0].code is None

    promote(server, "b")  # a rollback
    server.update()
    Child.made[-1].ready_line = "1"
    server.update()
    assert (server.state.gave_up, server.state.error) == (False, "")


def test_a_server_that_is_away_is_waited_for(server):
    server.ends = EXIT
    run(server)
    assert len(Child.made) > 2 * TRIES
    assert not server.state.gave_up


def test_a_failure_that_passes_is_tried_again_under_the_old_one(server):
    serve(server, "1")
    promote(server, "a")
    server.ends = 1
    run(server, seconds=10)
    server.ends = None
    run(server, seconds=LOAD / 2)
    Child.made[-1].ready_line = "2"
    server.update()
    assert (server.state.version, server.state.error) == ("2", "")
