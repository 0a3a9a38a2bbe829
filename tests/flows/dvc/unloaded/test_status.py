"""The status of a stage from its entry in dvc.lock and what lies there, path by path and key by key."""

import fcntl
from pathlib import Path

import pytest

from components.core.inputs.declared import Unusual
from flows.dvc.unloaded import status
from flows.dvc.unloaded.declared import Dep, Out, Stage


class Hashes:
    """What lies where, and what the cache has."""

    def __init__(self, there, cached=()):
        self.of, self.cached = there.get, cached.__contains__


PARAMS = {"runs": {"a": {"same": 1, "other": 2, "new": 3}}}
KEYS = [f"runs.a.{name}" for name in ("same", "other", "new", "gone")]


def stage():
    deps = [Dep("data", "/w/data"), Dep("./b", "/w/b"), Dep("params.yaml", "/w/params.yaml", KEYS, content=PARAMS)]
    return Stage("s", "run", "/w", deps, [Out("o/a", "/w/o/a"), Out("o/b", "/w/o/b")])


def entry(**changes):
    lines = {
        "cmd": "run",
        "deps": [{"path": "data", "hash": "md5", "md5": "1", "size": 3}, {"path": "./b", "hash": "md5", "md5": "2"}],
        "params": {"params.yaml": {"runs.a.same": 1, "runs.a.other": 1.5, "runs.a.gone": 0}},
        "outs": [{"path": "o/a", "hash": "md5", "md5": "3.dir", "nfiles": 1}, {"path": "o/b", "md5": "4", "isexec": True}],
    }
    return lines | changes


THERE = {"/w/data": "1", "/w/b": "2", "/w/o/a": "3.dir", "/w/o/b": "4"}
OF_PARAMS = {"params.yaml": {"runs.a.other": "modified", "runs.a.new": "new", "runs.a.gone": "deleted"}}


def found(entry, there=THERE, cached=("3.dir", "4")):
    return status._status(stage(), entry, Hashes(there, cached))


def test_parameters_are_compared_key_by_key():
    assert found(entry()) == [{"changed deps": OF_PARAMS}]
    same = {"params.yaml": {"runs.a.same": 1, "runs.a.other": 2, "runs.a.new": 3}}
    assert found(entry(params=same)) == [{"changed deps": {"params.yaml": {"runs.a.gone": "deleted"}}}]
    assert found(entry(params={})) == [{"changed deps": {"params.yaml": "new"}}]


def test_paths_are_modified_or_deleted_and_outs_must_be_in_the_cache():
    deps = {"changed deps": {"data": "modified", "b": "deleted"} | OF_PARAMS}
    assert found(entry(), THERE | {"/w/data": "9", "/w/b": None}) == [deps]
    outs = [{"changed deps": OF_PARAMS}, {"changed outs": {"o/a": "not in cache", "o/b": "modified"}}]
    assert found(entry(), THERE | {"/w/o/b": "9"}, cached=["4"]) == outs
    assert found(entry(), THERE | {"/w/o/b": None}) == [outs[0], {"changed outs": {"o/b": "deleted"}}]


def test_another_command_is_a_change_and_what_never_ran_has_none():
    assert found(entry(cmd="other"))[-1] == "changed command"
    everything = {"data": "modified", "b": "modified", "params.yaml": "new"}
    assert found(None) == [{"changed deps": everything}, {"changed outs": {"o/a": "modified", "o/b": "modified"}}]
    assert found(None, {})[1] == {"changed outs": {"o/a": "deleted", "o/b": "deleted"}}


@pytest.mark.parametrize("item", [{"path": "data", "hash": "sha256", "md5": "1"}, {"path": "data", "md5": "1", "etag": "x"}])
@pytest.mark.parametrize("side", ["deps", "outs"])
def test_an_entry_of_another_dvc_is_left_to_it(item, side):
    with pytest.raises(Unusual, match="an entry of another DVC"):
        found(entry(**{side: [item]}))


@pytest.mark.parametrize("content", status.FREE)
def test_a_free_dvc_is_locked_and_released(tmp_path, content):
    folder = tmp_path / ".dvc" / "tmp"
    for _ in range(2):
        with status._dvc_lock(tmp_path), (folder / "lock").open("ab") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / "rwlock").write_bytes(content)


def test_a_dvc_at_work_is_not_disturbed(tmp_path: Path):
    with status._dvc_lock(tmp_path), pytest.raises(Unusual, match="DVC is at work"), status._dvc_lock(tmp_path):
        pass
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text('{"read": {"x": []}}')
    with pytest.raises(Unusual, match="DVC is at work"), status._dvc_lock(tmp_path):
        pass
