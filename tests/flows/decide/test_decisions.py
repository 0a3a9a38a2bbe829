"""The process in which a version is tested, and who is told of a decision; the decisions themselves: tests/promotion."""

import contextlib
from types import SimpleNamespace

import pytest

from components.registry.promotion import CHAMPION_UNFIT, UNFIT, audit
from components.registry.promotion.journal import NotDone
from flows.decide import decisions
from flows.processes import Ended


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended(124, (), 9.0, True), r"study.small: the test of version 2 ran past 9 s \(pipeline.stage_timeout\)"),
        (Ended(1, ("error: no space",), 0.1, False), "study.small: the test of version 2 ended with code 1: no space"),
        (Ended(0, (), 0.1, False), None),
        (Ended(UNFIT, (), 0.1, False), None),
        (Ended(CHAMPION_UNFIT, (), 0.1, False), None),
    ],
)
def test_a_version_is_tested_in_a_process_that_may_fail(monkeypatch, tmp_path, ended, words):
    calls = []
    runner = SimpleNamespace(run=lambda command, **options: (calls.append((command, options)), ended)[1])
    monkeypatch.setattr(decisions, "Processes", lambda: runner)
    monkeypatch.setattr(decisions, "for_children", lambda project: {"A": "b"})
    params = SimpleNamespace(pipeline=SimpleNamespace(stage_timeout=9.0))
    workspace = SimpleNamespace(registered_name=lambda run: f"study.{run}")
    context = decisions.DecisionContext(
        SimpleNamespace(folder=tmp_path, params=params, workspace=workspace), "small", None, print
    )
    with pytest.raises(NotDone, match=words) if words else contextlib.nullcontext():
        assert decisions._test(context, "score", 2, "--against", "1") is ended
    ((command, options),) = calls
    assert command[1:] == ["-m", "components.registry.promotion", "score", "small", "2", "--against", "1"]
    assert options == {"folder": tmp_path, "env": {"A": "b"}, "log": print, "timeout": 9.0}


def test_the_last_reason_counts_and_there_may_be_none():
    tail = ("unfit: version 1: first", "unfit: version 1: second", "noise")
    assert decisions._reason(Ended(UNFIT, tail, 0.0, False)) == "version 1: second"
    assert decisions._reason(Ended(UNFIT, ("noise",), 0.0, False)) == "no reason was given"


LINE = {"gate": "floor", "passed": True, "words": "enough", "figures": {}}
FAILED = LINE | {"passed": False, "words": "too low"}


@pytest.mark.parametrize(
    ("action", "verdict", "told", "text"),
    [
        ("promoted", [LINE], ["reload", "promotion"], "words\npassed floor: enough\ncomment: why"),
        ("returned", [], ["reload", "return"], "words\ncomment: why"),
        ("rolled back", [], ["reload", "promotion"], "words\ncomment: why"),
        ("refused", [LINE, FAILED], ["promotion"], "words\npassed floor: enough\nFAILED floor: too low\ncomment: why"),
        ("approval requested", [LINE], ["promotion"], "words\npassed floor: enough\ncomment: why"),
        ("rejected", [LINE], [], ""),
    ],
)
def test_who_is_told_of_a_decision(monkeypatch, action, verdict, told, text):
    made = audit.Entry(action, "m", 2, "ada", "why", before=1, after=2, previous=1, verdict=verdict)
    calls, said, texts = [], [], []
    monkeypatch.setattr(decisions, "restart_scoring", lambda name: (calls.append("reload"), "by port 9")[1])
    for kind in ("promotion", "return"):
        send = lambda project, title, text, kind=kind: (calls.append(kind), texts.append((title, text)))  # noqa: E731
        monkeypatch.setattr(decisions, f"notify_{kind}", send)
    decisions.announce(None, decisions.Decision("words", made), said.append)
    assert (calls, texts) == (told, [(f"m: version 2 {action}", text)] if text else [])
    assert said == (["served: by port 9"] if "reload" in told else [])


def test_a_scoring_server_that_is_away_or_one_s_own_is_named(monkeypatch):
    made = audit.Entry("rolled back", "m", 2, "ada", "", before=1, after=2, previous=1)
    said, texts = [], []
    monkeypatch.setattr(decisions, "notify_promotion", lambda project, title, text: texts.append(text))
    for answer in (None, OSError("refused")):

        def restart(name, answer=answer):
            if answer:
                raise answer

        monkeypatch.setattr(decisions, "restart_scoring", restart)
        decisions.announce(None, decisions.Decision("words", made), said.append)
    assert "by no server of `python -m flows up`; one of your own must be restarted" in said[0]
    assert "the scoring server could not be reached (refused); `python -m flows down`" in said[1]
    assert texts == ["words", "words"]
