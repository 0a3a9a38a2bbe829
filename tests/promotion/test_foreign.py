"""Aliases that others deleted or moved, and runs that others deleted: found, and what was deleted comes back."""

import pytest

from components.registry import model_registry as registry
from components.registry.promotion import audit, foreign
from components.registry.promotion.audit import Entry
from components.registry.promotion.contest import find_contest, roll_back
from components.registry.promotion.journal import NotDone, decide
from components.registry.promotion.standing import standing
from components.registry.tracking import connect, publish
from flows.project import Project
from flows.upkeep.doctor import repair
from flows.upkeep.tracking import dead_records

NAME = "study.small"


@pytest.fixture
def office(quick_office):
    """Version 1 was champion, version 2 is."""
    place = quick_office
    for number, weights in enumerate(("0a", "0b"), start=1):
        place.add(weights)
        before = number - 1 or None
        decide(place.client, Entry("promoted", NAME, number, "ada", "", before=before, after=number, previous=before))
    return place


def moves(office):
    return [str(move) for move in foreign.foreign_moves(NAME, office.client.versions, office.aliases())]


def test_after_decisions_alone_nothing_is_foreign(office):
    assert moves(office) == []
    later = {"time": "2999-01-01T00:00:00+00:00"}  # times have a resolution of a second
    decide(office.client, Entry("rolled back", NAME, 1, "ada", "", before=2, after=1, previous=2, **later))
    assert moves(office) == []
    decide(office.client, Entry("refused", NAME, 2, "ada", "", before=1, after=1, previous=2, **later))
    assert moves(office) == []


def test_a_deleted_alias_is_named_and_stops_every_decision_until_it_is_back(office):
    office.client.delete_registered_model_alias(NAME, "champion")
    assert moves(office) == [f"{NAME}: the alias champion of version 2 was deleted without a decision"]
    for decision in (
        lambda: find_contest(office.client, office.workspace, "small", "d"),
        lambda: roll_back(office.client, NAME, None, "ada", ""),
    ):
        with pytest.raises(NotDone, match=r"version 2 was deleted without a decision; `python -m flows doctor --fix`"):
            decision()
    (move,) = foreign.foreign_moves(NAME, office.client.versions, office.aliases())
    foreign.put_back(office.client, move)
    assert (office.aliases()["champion"], moves(office)) == (2, [])


def test_a_moved_alias_is_named_and_left(office):
    office.add("0c")
    registry.set_alias(office.client, NAME, "champion", 3)
    assert moves(office) == [f"{NAME}: the alias champion of version 2 was moved to version 3 without a decision"]
    (move,) = foreign.foreign_moves(NAME, office.client.versions, office.aliases())
    foreign.put_back(office.client, move)
    assert office.aliases()["champion"] == 3


def test_status_and_doctor_tell_both_and_doctor_restores_them(home, monkeypatch):
    monkeypatch.setattr(Project, "workspace", home.workspace)
    publish(home.workspace, "small")
    client = connect()
    decide(client, Entry("promoted", NAME, 1, "ada", "", before=None, after=1, previous=None))
    assert standing(client, home.workspace, "small").notes == []
    (version,) = registry.versions(client, NAME)
    client.delete_run(version.run_id)
    (note,) = standing(client, home.workspace, "small").notes
    assert "the MLflow run of the champion, version 1, was deleted" in note
    client.delete_registered_model_alias(NAME, "champion")
    (note,) = standing(client, home.workspace, "small").notes
    assert "the alias champion of version 1 was deleted" in note

    findings = dead_records(Project(home.folder))
    assert [finding.what for finding in findings] == ["deleted alias", "deleted MLflow run"]
    assert [repair(finding) for finding in findings] == [None, None]
    assert registry.aliases(client, NAME)["champion"] == 1
    assert client.get_run(version.run_id).info.lifecycle_stage == "active"
    assert dead_records(Project(home.folder)) == []


def test_a_foreign_move_is_in_the_audit_once_and_stays_there(office):
    office.add("0c")
    registry.set_alias(office.client, NAME, "champion", 3)
    for _ in range(2):
        assert "moved to version 3" in standing(office.client, office.workspace, "small").notes[-1]
    registry.set_alias(office.client, NAME, "champion", 2)
    assert standing(office.client, office.workspace, "small").notes == []
    (entry,) = [entry for entry in audit.entries(NAME) if entry.action == "foreign move"]
    assert (entry.before, entry.after, entry.by, entry.moves) == (2, 3, "unknown", False)
    assert foreign.noted(NAME, 3) == foreign.noted(NAME, 2) == [entry]
    assert foreign.noted(NAME, 1) == []
