"""``down`` and the notes of ``up``: no process is taken for another, and no broken note stops anything."""

import argparse
import subprocess
import threading

import pytest

from components.core import settings
from components.core.files import identity, this_process, write_json
from flows import running
from flows.commands import down
from flows.doctor.servers import servers
from flows.project import Project
from flows.running import Scored, State, held, noted, read_json, restart_scoring, state_file, wish_file, write_state
from flows.supervisor import alone


@pytest.fixture(autouse=True)
def _work(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "WORK", tmp_path)


def state(supervisor: str, **more) -> State:
    return State(supervisor, str(settings.ROOT), "http://127.0.0.1:1/api", "http://127.0.0.1:2", **{"ready": True} | more)


def test_nothing_is_up(capsys):
    assert down.main(argparse.Namespace()) == 0
    assert capsys.readouterr().out == "nothing is up\n"
    assert running.running() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"supervisor": 1}', '{"scoring": {"a": {"x": 1}}}'])
def test_a_broken_note_is_no_note(text):
    write_json(state_file(), {})
    state_file().write_text(text)
    assert running.running() is None
    assert down.main(argparse.Namespace()) == 0


def test_a_process_that_got_the_number_since_is_left_alone(capsys):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        host, pid, started = identity(stranger.pid).split(":")
        write_state(state(f"{host}:{pid}:{int(started) - 1}", processes={f"{host}:{pid}:1": "prefect"}))
        assert running.running() is None
        assert down.main(argparse.Namespace()) == 0
        assert capsys.readouterr().out == "nothing is up: its process was gone already\n"
        assert stranger.poll() is None
        assert not state_file().exists()
        stranger.kill()


def test_what_runs_on_another_machine_is_ended_there(capsys):
    write_state(state("elsewhere:12:34"))
    assert down.main(argparse.Namespace()) == 1
    assert "another machine (elsewhere)" in capsys.readouterr().err
    assert state_file().exists()


def test_down_ends_the_very_process_and_waits_for_its_children():
    with subprocess.Popen(["sleep", "60"]) as supervisor, subprocess.Popen(["sleep", "0.5"]) as child:
        threading.Thread(target=supervisor.wait, daemon=True).start()  # a dead child is buried
        write_state(state(identity(supervisor.pid), processes={identity(child.pid): "serve"}))
        assert down.main(argparse.Namespace()) == 0
        assert (supervisor.wait(), child.wait()) == (-15, 0)


def test_servers_are_running_once_they_are_ready():
    write_state(state(this_process(), ready=False))
    assert running.running() is None
    write_state(state(this_process(), scoring={"own": Scored("http://127.0.0.1:3")}))
    found = running.running()
    assert (found.prefect_api, found.scoring) == ("http://127.0.0.1:1/api", {"own": "http://127.0.0.1:3"})
    assert running.running(settings.ROOT / "elsewhere") is None


def test_a_wish_for_the_new_champion_is_told_when_it_is_granted():
    assert restart_scoring("own") is None
    url = "http://127.0.0.1:3"
    write_state(state(this_process(), scoring={"own": Scored(url, "1")}))
    assert restart_scoring("another") is None

    def grant() -> None:
        while not (wish := read_json(wish_file("own")).get("wish")):
            pass
        write_state(state(this_process(), scoring={"own": Scored(url, "1", "exit code 1, see x", str(wish))}))

    thread = threading.Thread(target=grant)
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
        assert noted() == note
        supervisor.kill()
    assert not held()


def test_what_make_is_given_reaches_no_shell(tmp_path):
    words = ["DAYS=1; touch bad", "KILLS=1; touch bad", "SEED=1; touch bad", "FIX=0", "DRY=0"]
    done = subprocess.run(
        ["make", "-n", "gc", "chaos", "doctor", *words], cwd=settings.ROOT, capture_output=True, text=True, check=True
    )
    commands = [line for line in done.stdout.splitlines() if "python -m" in line]
    assert len(commands) >= 3
    assert not any("touch bad" in line or "--fix" in line or "--dry-run" in line for line in commands)
