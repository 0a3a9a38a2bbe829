"""What DVC is kept from writing and restoring: entries whose inputs are not those that the stage recorded.

With stand-ins for DVC's stages; ``tests/core/test_recorded_inputs.py`` does the same with DVC itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.core.inputs.record import record_path, serialise
from flows.dvc import inputs

NAME = "train@a"
RECORD = record_path(NAME)


def entry_with(params: dict[str, int], recorded: dict[str, int]) -> dict[str, Any]:
    """An entry of dvc.lock that names ``params``, of a stage that ran with ``recorded``."""
    md5 = hashlib.md5(serialise({}, {"params.yaml": recorded}), usedforsecurity=False).hexdigest()
    return {"params": {"params.yaml": params}, "outs": [{"path": "model"}, {"path": RECORD, "md5": md5}]}


class Dvc:
    """What would have been called of DVC."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.entry, self.called = folder, {}, []
        for name, method in (("save_outs", self.save), ("fill_from_lock", self.fill), ("load_cache", self.load)):
            monkeypatch.setitem(inputs._originals, name, method)
        monkeypatch.setattr("dvc.stage.serialize.to_single_stage_lockfile", lambda stage: self.entry)

    def save(self, stage: Any, **kwargs: Any) -> None:
        self.called.append(kwargs)

    def fill(self, stage: Any, entry: Any) -> None:
        self.called.append(entry)

    def load(self, cache: Any, key: str, value: str) -> Any:
        return self.entry

    def stage(self, *outs: str) -> Any:
        return SimpleNamespace(
            name=NAME, wdir=str(self.folder), outs=[SimpleNamespace(fs_path=str(self.folder / out)) for out in outs]
        )

    def write_record(self, params: dict[str, int]) -> None:
        path = self.folder / RECORD
        path.parent.mkdir(parents=True)
        path.write_bytes(serialise({}, {"params.yaml": params}))


@pytest.fixture
def dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dvc:
    return Dvc(tmp_path, monkeypatch)


@pytest.mark.parametrize(("number", "more"), [(4, ""), (6, " and 2 more")])
def test_an_entry_with_other_inputs_is_not_written(number: int, more: str, dvc: Dvc) -> None:
    """Four of them are named."""
    from dvc.exceptions import DvcException

    dvc.write_record(dict.fromkeys("abcdef"[:number], 1))
    dvc.entry = {"params": {"params.yaml": dict.fromkeys("abcdef"[:number], 2)}}
    with pytest.raises(DvcException) as error:
        inputs._save_outs(dvc.stage("model", RECORD), allow_missing=True)
    named = ", ".join(f"params.yaml: {name}" for name in "abcd")
    assert str(error.value) == f"train@a is not recorded, its inputs changed while it ran: {named}{more}"
    assert not dvc.called


def test_an_entry_with_the_recorded_inputs_is_written(dvc: Dvc) -> None:
    dvc.write_record({"a": 1})
    dvc.entry = {"params": {"params.yaml": {"a": 1}}}
    inputs._save_outs(dvc.stage("model", RECORD), allow_missing=True)
    assert dvc.called == [{"allow_missing": True}]


@pytest.mark.parametrize("declared", [True, False])
def test_a_stage_without_a_record_is_left_to_dvc(declared: bool, dvc: Dvc) -> None:
    """Declared but not written: DVC says so itself. Written but not declared: left by an older graph."""
    if not declared:
        dvc.write_record({"a": 1})
    dvc.entry = {"params": {"params.yaml": {"a": 2}}}
    inputs._save_outs(dvc.stage("model", *([RECORD] if declared else [])))
    assert dvc.called == [{}]


def test_a_wrong_entry_of_the_lock_counts_as_none(dvc: Dvc) -> None:
    wrong, right = entry_with({"a": 2}, {"a": 1}), entry_with({"a": 1}, {"a": 1})
    other = {"params": {"params.yaml": {"a": 3}}, "outs": [{"path": "model"}]}
    for entry in (wrong, right, other, None):
        inputs._fill_from_lock(dvc.stage("model"), entry)
    assert dvc.called == [right, other, None]


def test_a_wrong_run_of_the_run_cache_is_removed(dvc: Dvc, tmp_path: Path) -> None:
    path = tmp_path / "ab" / "abc" / "run"
    path.parent.mkdir(parents=True)
    path.write_text("")
    cache: Any = SimpleNamespace(_get_cache_path=lambda key, value: str(tmp_path / "ab" / key / value))
    dvc.entry = entry_with({"a": 1}, {"a": 1})
    assert inputs._load_cache(cache, "abc", "run") == dvc.entry
    assert path.exists()
    dvc.entry = entry_with({"a": 2}, {"a": 1})
    assert inputs._load_cache(cache, "abc", "run") is None
    assert not path.parent.exists()


def test_dvc_calls_them(dvc: Dvc, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.stage import PipelineStage
    from dvc.stage.cache import StageCache
    from dvc.stage.loader import StageLoader

    for owner, name in ((PipelineStage, "save_outs"), (StageLoader, "fill_from_lock"), (StageCache, "_load_cache")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # so that it is restored
    inputs.install()
    wrong = entry_with({"a": 2}, {"a": 1})
    dvc.entry, run = wrong, dvc.folder / "abc" / "run"
    run.parent.mkdir()
    run.touch()
    StageCache._load_cache(SimpleNamespace(_get_cache_path=lambda key, value: str(run)), "abc", "run")
    assert not run.parent.exists()  # DVC itself removes only the file, which it cannot read
    StageLoader.fill_from_lock(dvc.stage("model"), wrong)
    assert not dvc.called
    PipelineStage.save_outs(dvc.stage("model"), allow_missing=True)
    assert dvc.called == [{"allow_missing": True}]
