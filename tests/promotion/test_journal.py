"""A decision is carried out once and whole, wherever its process was killed; its audit line stands there once."""

import contextlib
import json
import threading
from dataclasses import replace

import pytest

from components.core.config.strict import SettingsError
from components.registry import model_registry as registry
from components.registry.promotion import audit, journal
from components.registry.promotion.audit import COMMENT, Entry
from components.registry.promotion.journal import MOVING, NotDone, complete, decide, deciding, decisions, pending
from components.registry.tracking import connect

NAME = "study.small"


class Killed(BaseException):
    """Stands for the end of the process."""


WRITES = ["set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag"]
WRITES += ["delete_registered_model_tag"]


def entry(version: int, before: int | None, **changes) -> Entry:
    made = Entry(
        action="promoted",
        name="study.small",
        version=version,
        by="ada",
        comment="why",
        before=before,
        after=version,
        previous=before,
    )
    return replace(made, figures={"accuracy": 0.9}, **changes)


def with_two(office):
    """Versions 1 and 2; the first is the champion."""
    office.add("0a")
    office.add("0b")
    decide(office.client, entry(1, None))
    return office


@pytest.fixture
def two(office):
    """In MLflow's registry."""
    return with_two(office)


@pytest.fixture
def quick_two(quick_office):
    """In memory."""
    return with_two(quick_office)


def test_aliases_tags_and_audit_follow_from_a_decision(two):
    decide(two.client, entry(2, 1))
    assert two.aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    assert [(line.version, line.by, line.comment, line.before) for line in audit.entries()] == [
        (1, "ada", "why", None),
        (2, "ada", "why", 1),
    ]
    assert [known.id for known in decisions(two.tags(2))] == [audit.entries()[1].id]
    assert two.tags(2)[journal.CHAMPION_SINCE] == audit.entries()[1].time
    assert pending(two.client, two.name) is None


def test_a_refusal_moves_nothing_and_leaves_its_reason(quick_two):
    line = {"gate": "floor", "passed": False, "words": "too low", "figures": {}}
    decide(quick_two.client, entry(2, 1, action="refused", after=1, previous=None, verdict=[line]))
    assert quick_two.aliases() == {"candidate": 2, "champion": 1}
    assert "refused; by ada" in quick_two.tags(2)[journal.PROMOTION]
    assert "floor: too low; why; accuracy 0.9" in quick_two.tags(2)[journal.PROMOTION]
    assert journal.CHAMPION_SINCE not in quick_two.tags(2)


@pytest.mark.parametrize("first", [True, False])
def test_killed_after_any_step_the_next_command_completes_it(two, monkeypatch: pytest.MonkeyPatch, first: bool):
    """The process ends once before and once after each write, one after the other; the champion is new from the first on."""
    from mlflow import MlflowClient

    if first:  # an alias is taken away, too
        two.client.set_registered_model_alias(two.name, "previous", "1")
    wanted = entry(2, None if first else 1)
    hit: list[str] = []

    def lethal(name: str, function):
        def call(*arguments, **options):
            if hit.count(name) == 0:
                hit.append(name)
                raise Killed
            result = function(*arguments, **options)
            if hit.count(name) == 1:
                hit.append(name)
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, lethal(name, getattr(MlflowClient, name)))
        patch.setattr(journal, "append", lethal("append", journal.append))
        for _ in range(100):
            with contextlib.suppress(Killed):
                if hit.count("set_registered_model_tag") < 2:  # not noted yet: as if it had never been decided
                    decide(two.client, wanted)
                elif complete(two.client, two.name) is None:
                    break
    assert set(hit) == {*WRITES, "append"} - (set() if first else {"delete_registered_model_alias"})
    assert all(hit.count(name) == 2 for name in set(hit))
    assert two.aliases() == {"candidate": 2, "champion": 2} | ({} if first else {"previous": 1})
    assert [line.id for line in audit.entries()].count(wanted.id) == 1
    assert [known.id for known in decisions(two.tags(2))] == [wanted.id]
    assert pending(two.client, two.name) is None


def test_doctor_can_complete_what_is_left_of_all_models(two):
    left = entry(2, 1)
    two.client.set_registered_model_tag(two.name, MOVING, left.to_json())
    two.client.create_registered_model("another")
    assert [done.id for done in journal.complete_all(two.client)] == [left.id]
    assert two.aliases()["champion"] == 2
    assert journal.complete_all(two.client) == []


@pytest.mark.parametrize("text", ["", "not json", '{"action": "promoted"}', "[1]", "null"])
def test_an_unreadable_journal_is_named(quick_two, text):
    quick_two.client.set_registered_model_tag(quick_two.name, MOVING, text)
    with pytest.raises(NotDone, match=r"the tag darkroom.moving of the registered model study.small is no decision of ours"):
        complete(quick_two.client, quick_two.name)
    assert quick_two.aliases()["champion"] == 1


def test_a_decision_about_a_deleted_version_says_the_way_out(quick_two):
    quick_two.client.set_registered_model_tag(quick_two.name, MOVING, entry(2, 1).to_json())
    quick_two.client.delete_model_version(quick_two.name, "2")
    with pytest.raises(NotDone, match=r"version 2 is gone .* delete the registered model's tag darkroom.moving"):
        complete(quick_two.client, quick_two.name)


def test_the_audit_mends_a_line_that_was_cut(quick_two):
    path = audit.audit_file()
    whole = path.read_bytes()
    path.write_bytes(whole + entry(2, 1).to_json().encode()[:40])
    later = entry(2, 1)
    for _ in range(2):
        audit.append(later)
    lines = path.read_bytes()
    assert lines.startswith(whole)
    assert [json.loads(line)["id"] for line in lines.splitlines()][1:] == [later.id]
    path.write_bytes(b"garbage\n" + lines)
    assert len(audit.entries()) == 2


def test_a_comment_that_no_tag_holds_is_refused_before_anything_is_written(quick_two):
    with pytest.raises(SettingsError, match=f"comment: {COMMENT + 1} characters are too many; at most {COMMENT}"):
        decide(quick_two.client, entry(2, 1, comment="x" * (COMMENT + 1)))
    assert pending(quick_two.client, quick_two.name) is None
    fullest = [{"gate": "max_class_fall", "passed": False, "words": "w" * 300, "figures": {"a": 0.1}}] * 5
    decide(quick_two.client, entry(2, 1, comment="ä" * COMMENT, verdict=fullest))


def test_one_decision_at_a_time(work):
    import threading

    inside, order = threading.Event(), []

    def second():
        with deciding("a"):
            order.append("second")

    with deciding("a"):
        thread = threading.Thread(target=lambda: (inside.set(), second()))
        thread.start()
        inside.wait()
        with deciding("b"):  # another model is free
            order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_champion_is_never_absent_not_for_a_moment(office):
    """A thread asks without a pause while decisions move the aliases, in MLflow's own store."""
    for weights in ("0a", "0b"):
        office.add(weights)
    decide(office.client, Entry("promoted", NAME, 1, "ada", "", before=None, after=1, previous=None))
    seen, over = [], threading.Event()

    def ask() -> None:
        client = connect()
        while not over.is_set():
            seen.append(registry.aliases(client, NAME).get("champion"))

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(4):
        old, new = (1, 2) if number % 2 == 0 else (2, 1)
        action = ("promoted", "rolled back", "approved", "returned")[number]
        before = len(seen)
        decide(office.client, Entry(action, NAME, new, "ada", "", before=old, after=new, previous=old))
        while len(seen) < before + 2:
            over.wait(0.01)
    over.set()
    asking.join()
    assert set(seen) == {1, 2}
