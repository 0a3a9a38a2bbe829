"""A stage is stale by its own code alone, whatever stage ``code`` is going to write; the reason names the files."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from components.core.config.strict import SettingsError
from flows.dvc import changes

OLD, NEW = {"a.py": "1", "b.py": "2"}, {"a.py": "1", "b.py": "3", "c.py": "4"}


def hashed(text: str):
    return SimpleNamespace(value=hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())


def stage(name: str, recorded: str | None, outs=(True,)):
    """Depends on its digests, recorded as ``recorded``, and on data."""
    kind, _, run = name.partition("@")
    deps = [SimpleNamespace(def_path=f"outputs/code/{kind}/{run}.json", hash_info=hashed(recorded) if recorded else None)]
    deps.append(SimpleNamespace(def_path="data", hash_info=hashed("data")))
    return SimpleNamespace(name=name, deps=deps, outs=[SimpleNamespace(hash_info=done) for done in outs], wdir=".")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Stage ``code`` would write NEW for the runs a and b; b has OLD."""
    texts = {f"train/{run}.json": json.dumps(NEW) for run in "ab"} | {"links/a.json": "{}"}
    monkeypatch.setattr(changes, "contents", lambda workspace: texts)
    path = tmp_path / "outputs" / "code" / "train" / "b.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(OLD))
    return SimpleNamespace(folder=tmp_path)


def modified(name: str, *others: str):
    kind, _, run = name.partition("@")
    return [{"changed deps": dict.fromkeys([f"outputs/code/{kind}/{run}.json", *others], "modified")}]


def test_the_digests_of_today_decide_not_those_on_the_disk(workspace):
    stages = [stage("train@a", json.dumps(NEW)), stage("train@b", json.dumps(OLD)), stage("links@a", "other")]
    status = {one.name: [*modified(one.name), "changed command"] for one in stages}
    status["train@a"] = modified("train@a", "outputs/views/v")
    code = stage("code", None)
    why = changes.reasons_of(workspace, [*stages, code], status | {"code": ["always changed"]}, set())
    assert why["train@a"] == ["modified dep outputs/views/v"]
    assert why["train@b"] == ["changed command", "code changed: b.py, c.py"]
    assert why["links@a"] == ["changed command", "links changed"]


def test_without_a_change_of_stage_code_the_disk_is_right(workspace):
    stages = [stage("train@a", json.dumps(NEW)), stage("code", "x")]
    why = changes.reasons_of(workspace, stages, {"train@a": modified("train@a"), "code": []}, {"code"})
    assert why == {
        "train@a": ["modified dep outputs/code/train/a.json"],
        "code": ["recorded with inputs that changed while it ran"],
    }


def test_settings_that_cannot_be_read_leave_the_status_as_it_is(workspace, monkeypatch):
    def fails(workspace):
        raise SettingsError("runs.a: no")

    monkeypatch.setattr(changes, "contents", fails)
    status = {"train@a": modified("train@a")}
    assert changes.code_changes(workspace, [stage("train@a", "x")], status) == status


def test_only_files_that_differ_are_named_and_of_many_three(tmp_path):
    path = tmp_path / "train" / "a.json"
    assert changes._edited(path, json.dumps(NEW)) == "code changed", "what it was is not known"
    path.parent.mkdir()
    path.write_text(json.dumps(NEW))
    assert changes._edited(path, json.dumps(NEW)) == "code changed"
    assert changes._edited(path, json.dumps({"c.py": "4"})) == "code changed: a.py, b.py"
    assert changes._edited(path, json.dumps({})) == "code changed: a.py, b.py, c.py"
    assert changes._edited(path, json.dumps({"d.py": "5"})) == "code changed: a.py, b.py, c.py, ..."


def test_a_stage_without_a_recorded_out_never_ran_and_other_reasons_are_in_words(workspace):
    parameters = {"params.yaml": {"runs.a.train": "new"}}  # of a file that is no dep any more
    status = [{"changed deps": {"data": "deleted"} | parameters}, {"changed outs": {"outputs/x": "not in cache"}}]
    status += ["changed command"]
    lines = ["deleted dep data", "param runs.a.train new", "not in cache out outputs/x", "changed command"]
    for outs, expected in (((None, None), ["never run"]), ((None, True), lines)):
        one = stage("evaluate@z", None, outs)
        assert changes.reasons_of(workspace, [one], {one.name: status}, set()) == {one.name: expected}
        assert changes.reasons_of(workspace, [one], {one.name: []}, set()) == {one.name: []}
