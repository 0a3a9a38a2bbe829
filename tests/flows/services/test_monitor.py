"""The monitor's flow with a command that only pretends: who is told of what, when, and what follows from drift."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.core import settings
from components.core.config.strict import SettingsError
from flows.__main__ import main
from flows.services.watch import NOTHING, monitored_runs, unreported
from flows.settings import monitors, schedules

# Writes the next of the reports that pictures.json lists, as the real command does; an entry that is a text is its last word.
COMMAND = """
import json, os, sys
from pathlib import Path
run = sys.argv[1]
home = Path(os.environ["DARKROOM_WORK"]) / "monitor" / f"project.{run}"  # a folder outside of the repository counts as a study
script = Path("script.json")
entries = json.loads(script.read_text())
entry = entries[run].pop(0)
script.write_text(json.dumps(entries))
with open("asked", "a") as file:
    print(*sys.argv[1:], file=file)
if isinstance(entry, str):
    sys.exit("error: " + entry)
if entry is not None:
    folder = home / "reports" / str(entry["number"])
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(entry))
home.mkdir(parents=True, exist_ok=True)
(home / "last.json").write_text(json.dumps({"waiting": 7, "least": 100}))
"""


def report(number: int, drift: bool) -> dict[str, Any]:
    names = {"strangest": ["./<b>x.png"], "broken_names": ["./y.png: cut"], "broken": 1}
    p = {"p": 1e-9 if drift else 0.5, "p_scores": 0.5, "p_rejected": 0.5, "alarm": 0.01}
    index = {"psi": 0.5, "psi_expected": 0.1, "psi_level": 0.1, "rejected": 0.25, "rejected_expected": 0.05}
    champion = {"name": "a", "version": 3, "detector": "vim", "threshold": 1.5, "prepared_by": "view v", "reference_images": 90}
    return {"number": number, "drift": drift, "images": 120, **names, **p, **index, **champion}


class Watched:
    """The fake project, its script, and what the flow told to Prefect."""

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pages: dict[str, str] = {}
        self.retrained: list[Any] = []
        command = fake.folder / "components" / "registry" / "monitor"
        command.mkdir(parents=True)
        (command.parent / "__init__.py").touch()
        (command / "__init__.py").touch()
        (command / "__main__.py").write_text(COMMAND)
        (fake.folder / "incoming").mkdir()

    def script(self, **entries: list[Any]) -> None:
        (self.fake.folder / "script.json").write_text(json.dumps(entries))

    def block(self, **block: Any) -> None:
        self.fake.change(lambda content: content.update(monitor=block))

    def asked(self) -> list[str]:
        return (self.fake.folder / "asked").read_text().splitlines()

    def run(self, **parameters: Any) -> Any:
        from flows.services.monitor import monitor

        return monitor.fn(project=str(self.fake.folder), **parameters)


@pytest.fixture
def seen(new: Any, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The flow as a function: Prefect's part is noted instead."""
    monkeypatch.setenv("DARKROOM_WORK", str(settings.WORK))
    from flows.services import monitor

    found = Watched(new)
    monkeypatch.setattr(monitor, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(monitor, "emit_event", lambda event, resource, payload: found.events.append((event, payload)))
    monkeypatch.setattr(
        monitor, "create_markdown_artifact", lambda key, markdown, description: found.pages.update({key: markdown})
    )

    def retrain(**parameters: Any) -> Any:
        found.retrained.append(parameters["runs"])
        return SimpleNamespace(name="Completed", message="nothing to do")

    monkeypatch.setattr(monitor, "pipeline", retrain)
    return found


def told(folder: Path) -> Any:
    return json.loads((folder / "told.json").read_text())


def test_drift_is_told_once_and_retrains(seen: Watched, receiver: Any) -> None:
    seen.block(a={"folder": "incoming", "least": 50, "retrain": True}, b={"folder": "incoming"})
    seen.fake.change(lambda content: content.update(notify={"on_drift": [receiver.url]}))
    seen.script(a=[report(1, True), None], b=[None, report(1, False)])
    state = seen.run()
    assert (state.name, state.is_completed()) == ("Drift", True)
    assert "a: drift in 120 new images: 25.0% rejected (5.0% expected), p 1e-09" in state.message
    assert "b: 7 new images wait, 100 are judged together" in state.message
    assert seen.asked()[0] == "a --folder incoming --least 50 --alarm 0.01 --psi 0.1"
    assert [event for event, _ in seen.events] == ["darkroom.monitor.drift"]
    assert seen.events[0][1]["p"] == 1e-9
    assert "\n    ./<b>x.png\n" in seen.pages["monitor-project-a"]  # indented: not read as markup
    assert [message["title"].endswith("project.a: drift") for message in receiver.messages] == [True]
    assert seen.retrained == [["a"]]
    folder = settings.WORK / "monitor" / "project.a" / "reports" / "1"
    assert told(folder) == {"retraining": "Completed: nothing to do"}
    state = seen.run()
    assert state.name == "Completed"
    assert [event for event, _ in seen.events] == ["darkroom.monitor.drift", "darkroom.monitor.no-drift"]
    assert len(receiver.messages) == len(seen.retrained) == 1


def test_what_nobody_was_told_of_is_told_the_next_time(seen: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.services import monitor

    seen.block(a={"folder": "incoming"})
    seen.script(a=[report(2, True), report(10, False)])
    tell = monitor.publish_report
    monkeypatch.setattr(monitor, "publish_report", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        seen.run()
    monkeypatch.setattr(monitor, "publish_report", tell)
    assert seen.run().name == "Drift"
    assert [payload["number"] for _, payload in seen.events] == [2, 10]
    assert list(unreported(seen.fake.project(), "a")) == []


def test_one_run_that_cannot_be_watched_does_not_stop_the_others(seen: Watched, receiver: Any) -> None:
    seen.block(a={"folder": "incoming"}, b={"folder": "incoming"})
    seen.fake.change(lambda content: content.update(notify={"on_failure": [receiver.url]}))
    seen.script(a=["a has no champion yet"], b=[report(1, False)])
    state = seen.run()
    assert state.is_failed()
    assert state.message.startswith("a: a has no champion yet (exit code 1); b: no drift in 120")
    assert receiver.messages[0]["title"].endswith("the monitor could not look at all images")
    assert [event for event, _ in seen.events] == ["darkroom.monitor.no-drift"]


def test_nothing_is_monitored_where_nothing_is_said(new: Any, capsys: pytest.CaptureFixture[str]) -> None:
    new.change(lambda content: content.update(schedules={"monitor": "0 * * * *"}))
    assert main(["monitor", "--project", str(new.folder)]) == 0
    assert capsys.readouterr().out.strip() == NOTHING
    assert schedules(new.project().params).monitor == ""  # nor by the clock
    (new.folder / "incoming").mkdir()
    new.change(lambda content: content.update(monitor={"a": {"folder": "incoming"}}))
    assert schedules(new.project().params).monitor == "0 * * * *"
    assert monitored_runs(new.project(), (), None)["a"].least == 100
    assert monitored_runs(new.project(), ("b",), str(new.folder))["b"].folder == str(new.folder)


@pytest.mark.parametrize(
    ("words", "block", "message"),
    [
        (["z"], {}, "RUN: no block named 'z'; allowed: a, b, c"),
        (["a"], {}, "monitor.a: missing; a: {folder: incoming/a} says where its new images are"),
        (["--folder", "x"], {}, "--folder: the images are those of one run: name it"),
        (["a", "--folder", "/nowhere"], {}, "monitor.a.folder: '/nowhere' does not exist in"),
        ([], {"a": {"folder": "incoming"}}, "monitor.a.folder: 'incoming' does not exist in"),
        ([], {"z": {"folder": "."}}, "monitor.z: no block named 'z'; allowed: a, b, c"),
        ([], {"a": {"folder": ".", "leest": 5}}, "monitor.a.leest: unknown key (value 5); allowed: alarm, folder, least, psi"),
        (
            [],
            {"a": {"folder": ".", "least": 5}},
            "monitor.a.least: 5 is not allowed: it must be at least 20",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    new: Any, words: list[str], block: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new.change(lambda content: content.update(monitor=block))
    assert main(["monitor", *words, "--project", str(new.folder)]) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_a_schedule_of_something_unknown_is_an_error(new: Any) -> None:
    new.change(lambda content: content.update(monitor={"z": {}}))
    with pytest.raises(SettingsError, match=r"monitor.z: no block named 'z'"):
        monitors(new.project().params)


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_the_command_with_a_temporary_server(done: Any) -> None:
    seen = Watched(done)
    seen.block(a={"folder": "incoming", "retrain": True})
    seen.script(a=[report(1, True), None])
    process = done.flows("monitor")
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 4, output
    assert "\na: drift in 120 new images:" in output
    assert (done.folder / ".work" / "published").read_text() == "a\n"  # the pipeline ran: only this was left to do
    assert told(done.folder / ".work" / "monitor" / "project.a" / "reports" / "1") == {"retraining": "Completed: 1 done"}
    with sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db") as database:
        assert ("monitor-project-a",) in database.execute("select key from artifact").fetchall()
        events = database.execute("select event, resource_id from events where event like 'darkroom.%'").fetchall()
    assert events == [("darkroom.monitor.drift", "darkroom.run.project.a")]
    process = done.flows("monitor", "a")
    output, _ = process.communicate(timeout=400)
    assert (process.returncode, output.splitlines()[-1]) == (0, "a: 7 new images wait, 100 are judged together")
