"""One stage through DVC: what it did, how it fails, and that DVC is left in order. Run as plain functions, without a server."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import threading
import time
from typing import Any

import pytest

from flows.budget import Cores, Devices
from flows.plan import Planned
from flows.processes import Processes
from flows.project import Project


@pytest.fixture
def stages(_quiet: None) -> Any:
    """The module, imported once Prefect's home is a temporary one."""
    return importlib.import_module("flows.stages")


def crew(stages: Any, fake: Any, timeout: float = 60.0, cores: int = 2, devices: int = 0) -> Any:
    return stages.Crew(fake.project(), timeout, Processes(grace=1.0), Cores(cores), Devices(devices))


def planned(name: str, force: bool = False) -> Planned:
    return Planned(name, ("test",), (), force)


def holders(fake: Any) -> dict[str, Any]:
    """The locks that DVC thinks are held on files."""
    path = fake.folder / ".dvc" / "tmp" / "rwlock"
    return {kind: held for kind, held in json.loads(path.read_text()).items() if held} if path.exists() else {}


def test_what_a_stage_did(stages: Any, done: Any) -> None:
    lines: list[str] = []
    done.change(lambda content: content["runs"]["b"]["train"].update(rate=2))
    outcome = stages.run_stage(planned("train@b"), crew(stages, done), lines.append)
    assert outcome.status == "ran"
    assert lines == [
        "Running stage 'train@b':",
        "> python ./stage.py train b",
        "train b starts on the default device",
    ]
    assert stages.run_stage(planned("train@b"), crew(stages, done), lines.append).status == "unchanged"
    done.change(lambda content: content["runs"]["b"]["train"].pop("rate"))
    assert stages.run_stage(planned("train@b"), crew(stages, done), lines.append).status == "restored"


def test_failure_shows_last_lines_and_leaves_dvc_in_order(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["export"].update(fail=True))
    with pytest.raises(stages.StageFailed) as caught:
        stages.run_stage(planned("export@b"), crew(stages, done), print)
    assert "cannot export b" in caught.value.tail
    assert str(caught.value).startswith("exit code 255 after ")
    assert not stages.is_busy(None, None, _failed(caught.value))
    assert holders(done) == {}


def test_timeout_is_the_stages_own(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["train"].update(seconds=30, escape=True))
    started = time.monotonic()
    with pytest.raises(stages.StageFailed, match=r"ran past 2 s \(pipeline.stage_timeout\)"):
        stages.run_stage(planned("train@b"), crew(stages, done, timeout=2.0), print)
    assert time.monotonic() - started < 10
    assert holders(done) == {}


def test_busy_files_are_worth_another_try(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["train"].update(rate=3))
    path = done.folder / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(exist_ok=True)
    held = {"pid": os.getpid(), "cmd": "dvc repro"}
    path.write_text(json.dumps({"write": {str(done.folder / "outputs" / "train" / "b"): held}}))
    with pytest.raises(stages.StageBusy) as caught:
        stages.run_stage(planned("train@b"), crew(stages, done), print)
    assert stages.is_busy(None, None, _failed(caught.value))
    path.unlink()
    assert stages.run_stage(planned("train@b"), crew(stages, done), print).status == "ran"


def test_dvcs_own_lock_is_waited_for(stages: Any, done: Any) -> None:
    """DVC alone gives up after three seconds, also on a training that has just ended."""
    done.change(lambda content: content["runs"]["b"]["train"].update(rate=4))
    with (done.folder / ".dvc" / "tmp" / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(4.5, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        assert stages.run_stage(planned("train@b"), crew(stages, done), print).status == "ran"


def test_forced_training_starts_anew(stages: Any, done: Any) -> None:
    fake = crew(stages, done)
    folder = fake.project.workspace.checkpoints("b")
    (folder / "fingerprint").mkdir(parents=True)
    assert stages.run_stage(planned("train@b"), fake, print).status == "unchanged"
    assert folder.exists()
    assert stages.run_stage(planned("train@b", force=True), fake, print).status == "ran"
    assert not folder.exists()


def _both(stages: Any, fake: Any, shared: Any) -> dict[str, tuple[float, float]]:
    fake.change(lambda content: [content["runs"][run]["train"].update(seconds=1.0) for run in ("a", "b")])
    shared.project = Project(fake.folder)
    threads = [threading.Thread(target=stages.run_stage, args=(planned(f"train@{run}"), shared, print)) for run in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    times = fake.timeline()
    return {run: times[f"train@{run}"] for run in ("a", "b")}


def test_stages_run_side_by_side_where_cores_allow(stages: Any, done: Any) -> None:
    times = _both(stages, done, crew(stages, done, cores=2))
    assert max(start for start, _ in times.values()) < min(end for _, end in times.values())
    assert done.dvc("status", "train@a", "train@b") == "Data and pipelines are up to date.\n"  # both stand in dvc.lock


def test_trainings_wait_for_their_threads(stages: Any, done: Any) -> None:
    done.change(lambda content: [content["runs"][run]["train"].update(threads=2) for run in ("a", "b")])
    times = _both(stages, done, crew(stages, done, cores=3))
    assert max(start for start, _ in times.values()) >= min(end for _, end in times.values())


def test_stage_is_told_which_of_several_devices_is_its_own(stages: Any, done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARKROOM_DEVICE", raising=False)
    lines: list[str] = []
    stages.run_stage(planned("train@b", force=True), crew(stages, done, devices=2), lines.append)
    assert "train b starts on cuda:0" in lines


def _failed(error: Exception) -> Any:
    from prefect.states import Failed

    return Failed(data=error)
