"""Promotion, approval and rollback as decisions, with the test of the models in the hands of the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from components.core.config.strict import SettingsError
from components.registry.promotion import CHAMPION_UNFIT, UNFIT, audit
from components.registry.promotion.journal import APPROVAL, MOVING, PROMOTION, NotDone
from components.registry.promotion.scores import write_scores
from components.registry.promotion.standing import standing
from components.registry.record.dvc_lock import export_key
from flows.cli import decide as command
from flows.decide import decisions
from flows.decide.decisions import decision_context
from flows.processes import Ended
from flows.project import Project

GATES = {"metric": "accuracy", "floor": 0.9, "margin": 0.03}


class World:
    """A registry, and what the test of a version would find: ``wrong`` images a version, or an exit code with a reason."""

    def __init__(self, office, scores: Callable, monkeypatch: pytest.MonkeyPatch):
        self.office, self.scores = office, scores
        self.wrong: dict[int, int] = {}
        self.ended: dict[tuple[str, int], Ended] = {}
        self.tests: list[tuple[str, int]] = []
        self.said: list[str] = []
        self.keys: dict[int, str] = {}
        self.data = "d" * 32
        self.during: Callable[[], None] = lambda: None
        self.gates(**GATES)
        monkeypatch.setattr(decisions, "data_key", lambda workspace, run: self.data)
        monkeypatch.setattr(decisions, "_test", self._test)
        monkeypatch.setattr(decisions, "connect", lambda: office.client)
        monkeypatch.setattr(decisions, "reachable", contextlib.nullcontext)

    def _test(self, at, what, version, *more):
        self.tests.append((what, version))
        for number in (version, *(int(word) for word in more[1:])):
            if what == "score" and number in self.wrong:
                found = self.scores(self.wrong[number], version=number, model=self.keys[number], data=self.data)
                write_scores(self.office.name, found)
        self.during()
        return self.ended.get((what, version), Ended(0, (), 0.0, False))

    def gates(self, **block):
        path = self.office.home.folder / "params.yaml"
        content = YAML(typ="safe").load(path)
        content["runs"]["small"]["promote"] = block
        with path.open("w") as file:
            YAML().dump(content, file)
        self.office.workspace.__dict__.pop("params", None)

    def add(self, weights: str, wrong: int) -> int:
        number = self.office.add(weights)
        self.wrong[number], self.keys[number] = wrong, export_key(self.office.workspace, "small")
        return number

    def decide(self, what: str, *arguments, by: str = "ada", comment: str = ""):
        project = SimpleNamespace(workspace=self.office.workspace, params=self.office.workspace.params)
        with decision_context(project, "small", self.said.append) as context:
            if what == "promote":
                return decisions.promote(context, by, comment, *(arguments or (True,)))
            return getattr(decisions, what)(context, *(arguments or (None,)), by, comment)

    def notes(self) -> str:
        return "\n".join(standing(self.office.client, self.office.workspace, "small").notes)


@pytest.fixture
def world(quick_office, scores, monkeypatch):
    return World(quick_office, scores, monkeypatch)


def test_first_better_worse_and_the_same_again(world):
    world.add("0a", wrong=4)
    assert "version 1 is the champion now (promoted by ada); the first one" in world.decide("promote").words
    assert world.office.aliases() == {"candidate": 1, "champion": 1}
    assert "version 1 is the champion already" in world.decide("promote").words
    world.add("0b", wrong=2)
    assert "it was version 1" in world.decide("promote").words
    assert world.office.aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    world.add("0c", wrong=12)
    decision_made = world.decide("promote", comment="let us see")
    assert decision_made.refused
    assert "version 3 is not promoted: margin: accuracy -0.0500 against the champion on 200 images" in decision_made.words
    assert world.office.aliases() == {"candidate": 3, "champion": 2, "previous": 1}
    assert "refused; by ada" in world.notes()
    assert "let us see" in world.office.tags(3)[PROMOTION]
    assert [line.action for line in audit.entries()] == ["promoted", "promoted", "refused"]
    refused = audit.entries()[2]
    assert (refused.figures["champion accuracy"], refused.before, refused.after, refused.previous) == (0.99, 2, 2, 1)
    assert refused.expires is None


def test_a_decision_without_a_name_is_the_login_s(world, monkeypatch):
    monkeypatch.setattr(decisions, "login", lambda: "eve")
    world.add("0a", wrong=4)
    assert "promoted by eve" in world.decide("promote", by="").words
    world.gates(**GATES, approval=True)
    for weights, word, words in (("0b", "reject", "rejected by eve"), ("0c", "approve", "approved by eve")):
        world.add(weights, wrong=0)
        world.decide("promote", by="")
        assert words in world.decide(word, by="").words
    assert "rolled back by eve" in world.decide("rollback", by="").words
    assert {entry.by for entry in audit.entries()} == {"eve"}


def test_what_cannot_be_promoted_is_said_in_words(world):
    with pytest.raises(NotDone, match="outputs/export/small is not published yet; `python -m flows run --runs small`"):
        world.decide("promote")
    world.add("0a", wrong=0)
    world.add("0b", wrong=0)
    world.office.home.lock("0a")  # another machine published 0b
    with pytest.raises(NotDone, match="the candidate is version 2, but outputs/export/small is version 1"):
        world.decide("promote")
    world.gates()
    with pytest.raises(SettingsError, match=r"runs.small.promote: nothing says"):
        world.decide("promote")


def test_an_unfit_candidate_is_refused_with_the_reason(world):
    world.add("0a", wrong=0)
    world.ended["score", 1] = Ended(UNFIT, ("noise", "unfit: version 1 does not load: no model.onnx"), 1.0, False)
    assert "loads: version 1 does not load: no model.onnx" in world.decide("promote").words
    assert "does not load: no model.onnx" in world.office.tags(1)[PROMOTION]


def test_a_champion_that_cannot_be_scored_is_passed_over_only_on_demand(world):
    world.add("0a", wrong=0)
    world.decide("promote")
    world.add("0b", wrong=0)
    world.ended["score", 2] = Ended(CHAMPION_UNFIT, ("unfit: version 1 cannot be scored: a new class",), 1.0, False)
    assert "champion: version 1 cannot be scored: a new class; --no-compare" in world.decide("promote").words
    world.ended.clear()
    with pytest.raises(SettingsError, match="say why with --comment"):
        world.decide("promote", False)
    assert "version 2 is the champion now" in world.decide("promote", False, comment="a new class").words
    assert audit.entries()[-1].comment == "a new class"


def test_what_changed_while_it_was_scored_promotes_nothing(world):
    world.add("0a", wrong=0)
    world.during = lambda: world.office.add("0b")
    with pytest.raises(NotDone, match="version 1 is not promoted: the candidate is version 2; promote again"):
        world.decide("promote")
    world.during = lambda: setattr(world, "data", "e" * 32)
    world.add("0c", wrong=0)
    world.wrong.clear()
    with pytest.raises(NotDone, match="changed while it was scored"):
        world.decide("promote")
    assert "champion" not in world.office.aliases()


def test_two_promotions_at_once_are_one(world):
    world.add("0a", wrong=0)
    words: list[str] = []
    inside = threading.Barrier(2)

    def one():
        inside.wait()
        words.append(world.decide("promote").words)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted("champion already" in word for word in words) == [False, True]
    assert len(audit.entries()) == 1


def test_every_command_completes_a_half_done_decision_first(world):
    world.add("0a", wrong=4)
    world.decide("promote")
    world.add("0b", wrong=0)
    left = audit.Entry("promoted", world.office.name, 2, "bob", "", before=1, after=2, previous=1)
    world.office.client.set_registered_model_tag(world.office.name, MOVING, left.to_json())
    assert "is half done" in world.notes()
    assert "version 1 is the champion now (rolled back by ada); it was version 2" in world.decide("rollback").words
    assert world.office.aliases() == {"candidate": 2, "champion": 1, "previous": 2}
    assert "completed what was left half done: version 2 promoted by bob" in world.said[-1]
    assert [line.action for line in audit.entries()] == ["promoted", "promoted", "rolled back"]


# -------------------------------------------------------------------------------------------------------------- approval


@pytest.fixture
def asked(world):
    """Version 1 is the champion, version 2 waits for a word."""
    world.add("0a", wrong=4)
    world.decide("promote")
    world.gates(**GATES, approval=True, approval_hours=1.0)
    world.add("0b", wrong=0)
    assert "version 2 passed all gates and waits for approval until" in world.decide("promote").words
    return world


def test_a_request_waits_in_the_registry(asked):
    tags = asked.office.tags(2)
    assert (tags[APPROVAL], "accuracy 1" in tags[PROMOTION]) == ("pending", True)
    assert asked.office.aliases() == {"candidate": 2, "champion": 1}
    assert "version 2 waits for approval until" in asked.notes()


def test_approved_it_is_the_champion(asked):
    assert "version 2 is the champion now (approved by bob); it was version 1" in asked.decide("approve", by="bob").words
    assert asked.office.aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    assert asked.tests[-1] == ("check", 2)
    request, word = audit.entries()[-2:]
    assert (word.by, word.request, word.figures) == ("bob", request.id, request.figures)
    with pytest.raises(NotDone, match="no version waits for approval"):
        asked.decide("approve")


def test_rejected_it_is_not(asked):
    assert "version 2 is not promoted: rejected by ada: no" in asked.decide("reject", comment="no").words
    assert asked.office.aliases() == {"candidate": 2, "champion": 1}
    assert asked.office.tags(2)[APPROVAL] == "rejected"
    with pytest.raises(NotDone, match="version 2 does not wait for approval"):
        asked.decide("approve", 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda world: world.office.client.set_registered_model_alias(world.office.name, "champion", "2"),
            "champion is version 2",
        ),
        (
            lambda world: world.office.client.delete_registered_model_alias(world.office.name, "champion"),
            "the champion is none",
        ),
        (lambda world: world.office.add("0c"), "the candidate is version 3"),
        (lambda world: setattr(world, "data", "e" * 32), "the evaluation data or the metric code"),
    ],
)
def test_approved_too_late_is_said_and_changes_nothing(asked, change, message):
    change(asked)
    before = asked.office.aliases()
    with pytest.raises(NotDone, match=f"version 2 is not promoted: .*{message}.*; promote again"):
        asked.decide("approve")
    assert asked.office.aliases() == before


def test_a_word_is_kept_as_one_line_of_a_name_and_ends_the_request(asked):
    assert audit.entries()[-1].expires is not None
    asked.decide("reject", by="x" * 120, comment="not\n yet")
    word = audit.entries()[-1]
    assert (word.by, word.comment, word.expires) == ("x" * 100, "not yet", None)
    assert (word.before, word.after, word.previous) == (1, 1, None)


def test_of_two_requests_one_must_be_named_unless_the_other_has_expired(asked, monkeypatch):
    asked.add("0c", wrong=0)
    asked.decide("promote")
    with pytest.raises(NotDone, match="versions 2, 3 wait for approval: say which"):
        asked.decide("approve")
    asked.decide("reject", 2)
    later = audit.now() + audit.timedelta(hours=2)
    monkeypatch.setattr(audit, "now", lambda: later)
    asked.add("0d", wrong=0)
    asked.decide("promote")
    assert "version 4 is the champion now (approved by ada); it was version 1" in asked.decide("approve").words


def test_expiry_is_checked_on_read(asked, monkeypatch):
    later = audit.now() + audit.timedelta(hours=1)
    monkeypatch.setattr(audit, "now", lambda: later)
    assert "version 2 is not promoted: the request for approval expired at" in asked.notes()
    for word in ("approve", "reject"):
        with pytest.raises(NotDone, match=r"version 2 is not promoted: the request expired at .*; promote again"):
            asked.decide(word)
    assert "waits for approval until" in asked.decide("promote").words
    assert "version 2 is the champion now" in asked.decide("approve").words


def test_an_approved_model_that_no_longer_loads_stays_where_it_is(asked):
    asked.ended["check", 2] = Ended(UNFIT, ("unfit: version 2 does not load: gone",), 1.0, False)
    with pytest.raises(NotDone, match="version 2 does not load: gone; nothing was changed"):
        asked.decide("approve")
    assert asked.office.aliases() == {"candidate": 2, "champion": 1}


# -------------------------------------------------------------------------------------------------------------- rollback


def test_back_and_forth_and_to_a_number(world):
    for wrong, weights in enumerate(("0a", "0b", "0c")):
        world.add(weights, wrong=3 - wrong)
        world.decide("promote")
    world.decide("rollback")
    assert world.office.aliases() == {"candidate": 3, "champion": 2, "previous": 3}
    world.decide("rollback")
    world.decide("rollback", 1)
    assert world.office.aliases() == {"candidate": 3, "champion": 1, "previous": 3}
    assert audit.entries()[-1].action == "rolled back"


def test_where_there_is_no_way_back_it_says_so(world):
    with pytest.raises(NotDone, match="nothing to roll back: it has no champion"):
        world.decide("rollback")
    world.add("0a", wrong=0)
    world.decide("promote")
    with pytest.raises(NotDone, match="nothing to roll back to: version 1 is its first champion"):
        world.decide("rollback")
    world.add("0b", wrong=0)
    for version, message in ((1, "champion already"), (2, "was never its champion; .*: none"), (9, "was never its champion")):
        with pytest.raises(NotDone, match=message):
            world.decide("rollback", version)


def test_an_old_version_that_does_not_answer_is_no_way_back(world):
    world.add("0a", wrong=1)
    world.decide("promote")
    world.add("0b", wrong=0)
    world.decide("promote")
    world.ended["check", 1] = Ended(UNFIT, ("unfit: version 1 does not load: no such file",), 1.0, False)
    with pytest.raises(NotDone, match="version 1 does not load: no such file; nothing was changed"):
        world.decide("rollback")
    assert world.office.aliases() == {"candidate": 2, "champion": 2, "previous": 1}


def test_what_was_rolled_back_comes_again_only_with_a_reason(world):
    """A promotion by a timer must not undo what a person has decided."""
    first = world.add("aa", wrong=4)
    world.decide("promote")
    second = world.add("ab", wrong=2)
    world.decide("promote")
    world.decide("rollback", comment="it answers nonsense")
    assert f"version {first} is back: rolled back from version {second} by ada" in world.notes()
    assert f"version {second}: promoted" not in world.notes()
    with pytest.raises(NotDone, match=rf"version {second} was rolled back by ada at .* \(it answers nonsense\); .*--comment"):
        world.decide("promote")
    assert "is the champion now" in world.decide("promote", comment="mended").words


def test_the_standing_of_a_champion(world, monkeypatch):
    client, see = world.office.client, lambda: standing(world.office.client, world.office.workspace, "small")
    assert (see().champion, see().since, see().metric, see().notes) == (None, "", "", [])
    monkeypatch.setattr(audit, "now", lambda: audit.datetime(2026, 3, 4, 5, 6, 7, tzinfo=audit.UTC))
    world.add("0a", wrong=4)
    world.decide("promote")
    tags = {"darkroom.view_digest": "0123456789", "mlflow.source.git.commit": "fedcba9876", "darkroom.git_dirty": "true"}
    run = SimpleNamespace(info=SimpleNamespace(lifecycle_stage="active"), data=SimpleNamespace(tags=tags))
    monkeypatch.setattr(client, "get_run", lambda run_id: run, raising=False)
    client.versions[0].run_id = "r"
    client.versions[0].tags |= {"metric.accuracy": "0.98", "metric.aaa": "1"}
    found = see()
    assert (found.candidate, found.champion, found.previous, found.notes) == (1, 1, None, [])
    assert (found.data, found.commit, found.metric) == ("01234567", "fedcba98+", "accuracy 0.98")
    assert found.since == "2026-03-04 05:06"
    tags["darkroom.git_dirty"] = "false"
    world.gates()
    assert (see().commit, see().metric) == ("fedcba98", "aaa 1")
    run.info.lifecycle_stage = "deleted"
    (note,) = see().notes
    assert "the MLflow run of the champion, version 1, was deleted; `python -m flows doctor --fix`" in note


def test_a_new_champion_is_watched_for_its_time(world, monkeypatch):
    times = [audit.datetime(2026, 3, 4, 5, 6, 7, tzinfo=audit.UTC)]
    monkeypatch.setattr(audit, "now", lambda: times[-1])
    world.gates(**GATES, watch="24h")
    world.add("0a", wrong=4)
    world.decide("promote")
    assert "watched" not in world.notes(), "nothing to return to"
    world.add("0b", wrong=2)
    world.decide("promote")
    assert "version 2 is watched until 2026-03-05T05:06:07" in world.notes()
    times.append(times[0] + audit.timedelta(hours=24))
    assert "watched" not in world.notes()
    times.append(times[0] + audit.timedelta(hours=1))
    world.decide("rollback")
    assert "watched" not in world.notes()


def test_without_an_answer_of_prefect_it_is_decided_right_here(monkeypatch: pytest.MonkeyPatch, capsys):
    """Nobody listens on port 9; a rollback must not wait for a server."""
    monkeypatch.setenv("PREFECT_API_URL", "http://user:word@127.0.0.1:9/api")
    monkeypatch.setattr(command, "_here", lambda project, run, decide: 7)
    assert command._carry_out(Project(), "rollback", lambda context: None, {"run": "small"}) == 7
    assert "http://user:***@127.0.0.1:9/api does not answer: it is decided without it" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- a second person


@pytest.fixture
def trained(asked, monkeypatch):
    """The request of ``asked``, for a second person; carl trained version 2."""
    asked.gates(**GATES, approval={"by": "other"})
    asked.office.client.versions[1].run_id = "r"
    run = SimpleNamespace(data=SimpleNamespace(tags={"mlflow.user": "carl"}))
    monkeypatch.setattr(asked.office.client, "get_run", lambda run_id: run, raising=False)
    return asked, run


@pytest.mark.parametrize(("by", "why"), [("ada", "asked for its promotion"), (" Carl ", "trained it"), ("ADA", "asked for")])
def test_who_trained_or_asked_cannot_approve(trained, by, why):
    asked, _ = trained
    with pytest.raises(NotDone, match=f"waits for a second person .*{by}.*{why}"):
        asked.decide("approve", by=by)
    assert asked.office.aliases()["champion"] == 1
    assert "version 2 is the champion now (approved by bob)" in asked.decide("approve", by="bob").words


def test_who_asked_first_cannot_approve_what_another_asked_for_again(trained):
    asked, _ = trained
    asked.decide("promote", by="dora")
    with pytest.raises(NotDone, match="ada asked for its promotion"):
        asked.decide("approve", by="ada")


def test_a_training_by_nobody_known_has_no_second_person(trained):
    asked, run = trained
    run.data.tags.clear()
    with pytest.raises(NotDone, match="does not say who trained it"):
        asked.decide("approve", by="bob")
    assert "not promoted: rejected by ada" in asked.decide("reject", by="ada").words
