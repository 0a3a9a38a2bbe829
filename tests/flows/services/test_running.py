"""``down`` and the notes of ``up``: no process is taken for another, and no broken note stops anything."""

import argparse
import subprocess
import threading

import pytest

from components.core import settings
from components.core.files import identity, read_json, this_process, write_json
from flows.cli import down
from flows.project import Project
from flows.services import running
from flows.services.running import (
    ScoringState,
    ServersState,
    is_supervised,
    live_state,
    reload_request_file,
    restart_scoring,
    state_file,
    write_state,
)
from flows.services.supervisor import alone
from flows.upkeep.state import servers


@pytest.fixture(autouse=True)
def _work(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "WORK", tmp_path)


def state(supervisor: str, **more) -> ServersState:
    return ServersState(
        supervisor, str(settings.ROOT), "http://127.0.0.1:1/api", "http://127.0.0.1:2", **{"ready": True} | more
    )


def test_nothing_is_up(capsys):
    assert down.down(argparse.Namespace()) == 0
    assert capsys.readouterr().out == "nothing is up\n"
    assert running.running() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"supervisor": 1}', '{"scoring": {"a": {"x": 1}}}'])
def test_a_broken_note_is_no_note(text):
    write_json(state_file(), {})
    state_file().write_text(text)
    assert running.running() is None
    assert down.down(argparse.Namespace()) == 0


def test_a_process_that_got_the_number_since_is_left_alone(capsys):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        host, pid, started = identity(stranger.pid).split(":")
        write_state(state(f"{host}:{pid}:{int(started) - 1}", processes={f"{host}:{pid}:1": "prefect"}))
        assert running.running() is None
        assert down.down(argparse.Namespace()) == 0
        assert capsys.readouterr().out == "nothing is up: its process was gone already\n"
        assert stranger.poll() is None
        assert not state_file().exists()
        stranger.kill()


def test_what_runs_on_another_machine_is_ended_there(capsys):
    write_state(state("elsewhere:12:34"))
    assert down.down(argparse.Namespace()) == 1
    assert "another machine (elsewhere)" in capsys.readouterr().err
    assert state_file().exists()


def test_down_ends_the_very_process_and_waits_for_its_children():
    with subprocess.Popen(["sleep", "60"]) as supervisor, subprocess.Popen(["sleep", "0.5"]) as child:
        threading.Thread(target=supervisor.wait, daemon=True).start()  # a dead child is buried
        write_state(state(identity(supervisor.pid), processes={identity(child.pid): "serve"}))
        assert down.down(argparse.Namespace()) == 0
        assert (supervisor.wait(), child.wait()) == (-15, 0)


def test_servers_are_running_once_they_are_ready():
    write_state(state(this_process(), ready=False))
    assert running.running() is None
    write_state(state(this_process(), scoring={"own": ScoringState("http://127.0.0.1:3")}))
    found = running.running()
    assert (found.prefect_api, found.scoring) == ("http://127.0.0.1:1/api", {"own": "http://127.0.0.1:3"})
    assert running.running(settings.ROOT / "elsewhere") is None


def test_a_request_for_the_new_champion_returns_when_it_is_completed():
    assert restart_scoring("own") is None
    url = "http://127.0.0.1:3"
    write_state(state(this_process(), scoring={"own": ScoringState(url, "1")}))
    assert restart_scoring("another") is None

    def complete() -> None:
        while not (request := read_json(reload_request_file("own")).get("request")):
            pass
        write_state(state(this_process(), scoring={"own": ScoringState(url, "1", "exit code 1, see x", str(request))}))

    thread = threading.Thread(target=complete)
    thread.start()
    assert restart_scoring("own") == f"{url} answers with version 1 (exit code 1, see x)"
    thread.join()


def test_a_living_supervisor_is_found_though_its_note_is_spoilt():
    """It writes the note anew; doctor does not take it away meanwhile."""
    write_state(state("x"))
    with subprocess.Popen(["sleep", "60"]) as supervisor, alone():
        assert not list(servers(Project()))
        note = state(identity(supervisor.pid))
        threading.Timer(0.3, write_state, [note]).start()
        assert live_state() == note
        supervisor.kill()
    assert not is_supervised()


def test_what_make_is_given_reaches_no_shell(tmp_path):
    words = ["DAYS=1; touch bad", "KILLS=1; touch bad", "SEED=1; touch bad", "FIX=0", "DRY=0"]
    done = subprocess.run(
        ["make", "-n", "gc", "chaos", "doctor", *words], cwd=settings.ROOT, capture_output=True, text=True, check=True
    )
    commands = [line for line in done.stdout.splitlines() if "python -m" in line]
    assert len(commands) >= 3
    assert not any("touch bad" in line or "--fix" in line or "--dry-run" in line for line in commands)
