"""Clones that share nothing but a DVC remote: what one has made, the other restores; a remote that is away loses nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.core import settings
from components.core.config.strict import SettingsError
from flows.dvc.sharing import Share
from flows.pipeline.plan import PipelinePlan, make_plan
from flows.pipeline.report import describe
from flows.pipeline.retries import StageFailed, TransientFailure
from flows.processes import Processes


def plan(fake: Any, *runs: str) -> PipelinePlan:
    return make_plan(fake.project(), runs, False, lambda workspace, run: True)


def name_remote(fake: Any, storage: Path) -> None:
    storage.mkdir()
    fake.dvc("remote", "add", "storage", str(storage))
    fake.change(lambda content: content["pipeline"].update(remote="storage"))


def sharing(fake: Any) -> Share:
    address = plan(fake, "a").address
    assert address is not None
    return Share(fake.project(), "storage", address, Processes(grace=1.0), 60.0)


def test_remote_that_is_named_must_exist(done: Any) -> None:
    done.change(lambda content: content["pipeline"].update(remote="storage"))
    with pytest.raises(SettingsError, match=r"pipeline.remote: DVC's configuration has no remote 'storage'; `dvc remote add"):
        plan(done, "a")


def test_what_one_clone_pushes_another_restores(done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_remote(done, tmp_path / "storage")
    other = type(done)(tmp_path / "other")
    ignore = shutil.ignore_patterns("outputs", ".work", "cache", "tmp", "dvc.lock")
    shutil.copytree(done.folder, other.folder, ignore=ignore, symlinks=True)

    found = plan(done, "a")
    assert found.unshared == ("fetch@d", "augment@v", "wire@a", "train@a", "export@a", "evaluate@a", "ood_table@odd")
    assert "share (7)  not on the remote yet: fetch@d, augment@v, wire@a, train@a and 3 more" in describe(found)

    lines: list[str] = []
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(settings, "WORK", other.folder / ".work")
        there = sharing(other)
        for stage in ("augment@v", "fetch@d"):  # one whose input is missing, one that nobody has pushed
            there.pull(stage, lines.append)
    assert lines == []
    sharing(done).push("fetch@d", lines.append)
    assert lines == ["shared with 'storage'"]
    assert "fetch@d" not in plan(done, "a").unshared  # it is noted

    there.pull("fetch@d", lines.append)
    assert "is cached - skipping run" in other.dvc("repro", "-s", "fetch@d")
    assert (other.folder / "outputs" / "datasets" / "d" / "data").read_text() == "data\n"
    assert lines == ["shared with 'storage'"]


@pytest.mark.parametrize("fault", ["cut", pytest.param("lost", marks=pytest.mark.slow)])
def test_an_object_that_is_wrong_or_lost_on_the_remote_is_named_made_again_and_repaired(
    done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    name_remote(done, tmp_path / "storage")
    here, lines = sharing(done), []
    for stage in ("fetch@d", "augment@v"):
        here.push(stage, lines.append)
    stored = next(path for path in (tmp_path / "storage").rglob("*") if path.is_file() and path.read_bytes() == b"data\n")
    stored.chmod(0o644)
    stored.unlink() if fault == "lost" else stored.write_bytes(b"da")

    other = type(done)(tmp_path / "other")
    ignore = shutil.ignore_patterns("outputs", ".work", "cache", "tmp", "dvc.lock")
    shutil.copytree(done.folder, other.folder, ignore=ignore, symlinks=True)
    monkeypatch.setattr(settings, "WORK", other.folder / ".work")
    there, lines = sharing(other), []
    there.pull("fetch@d", lines.append)
    (line,) = lines
    assert f"1 {'missing' if fault == 'lost' else 'wrong'} objects ({stored.parent.name}{stored.name})" in line
    assert "fetch@d is computed again here" in line
    assert not there.unavailable  # the other stages are still asked for
    assert "Running stage" in other.dvc("repro", "-s", "fetch@d")
    there.push("fetch@d", lines.append)
    assert stored.read_bytes() == b"data\n"
    there.pull("augment@v", lines.append)
    assert "is cached - skipping run" in other.dvc("repro", "-s", "augment@v")


def test_away_is_a_warning_before_and_an_error_after(done: Any, tmp_path: Path) -> None:
    name_remote(done, tmp_path / "storage")
    (tmp_path / "storage").rmdir()
    here, lines = sharing(done), []
    for stage in ("train@a", "export@a"):
        here.pull(stage, lines.append)
    (line,) = lines  # said once, not for every stage
    assert line.startswith(f"warning: remote 'storage': there is no folder {tmp_path}/storage; make it, or mount")
    with pytest.raises(
        TransientFailure, match=r"the results are here, not shared; the next run sends them: remote 'storage': there is no"
    ):
        here.push("train@a", print)
    assert "train@a" in plan(done, "a").unshared


def test_remote_that_cannot_be_used_is_not_tried_again(done: Any) -> None:
    done.dvc("remote", "add", "storage", "s3://bucket/storage")
    done.change(lambda content: content["pipeline"].update(remote="storage"))
    with pytest.raises(StageFailed, match="s3") as caught:
        sharing(done).push("train@a", print)
    assert not isinstance(caught.value, TransientFailure)
