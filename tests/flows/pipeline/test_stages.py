"""One stage through DVC: what it did, how it fails, and that DVC is left in order. Run as plain functions, without a server."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline import retries as tries
from flows.pipeline.budget import Cores, Devices
from flows.pipeline.plan import Planned
from flows.processes import Processes
from flows.project import Project


@pytest.fixture
def stages(_quiet: None) -> Any:
    """The module, imported once Prefect's home is a temporary one."""
    return importlib.import_module("flows.pipeline.stages")


def context(stages: Any, fake: Any, timeout: float = 60.0, cores: int = 2, devices: int = 0) -> Any:
    return stages.RunContext(fake.project(), timeout, Processes(grace=3.0), Cores(cores), Devices(devices))


def planned(name: str, force: bool = False) -> Planned:
    return Planned(name, ("test",), (), force)


def holders(fake: Any) -> dict[str, Any]:
    """The locks that DVC thinks are held on files."""
    path = fake.folder / ".dvc" / "tmp" / "rwlock"
    return {kind: held for kind, held in json.loads(path.read_text()).items() if held} if path.exists() else {}


def test_what_a_stage_did(stages: Any, done: Any) -> None:
    lines: list[str] = []
    done.change(lambda content: content["runs"]["b"]["train"].update(rate=2))
    outcome = stages.run_stage(planned("train@b"), context(stages, done), lines.append)
    assert outcome.status == "ran"
    assert lines == [
        "Running stage 'train@b':",
        "> python ./stage.py train b",
        "train b starts on the default device",
    ]
    assert stages.run_stage(planned("train@b"), context(stages, done), lines.append).status == "unchanged"
    done.change(lambda content: content["runs"]["b"]["train"].pop("rate"))
    assert stages.run_stage(planned("train@b"), context(stages, done), lines.append).status == "restored"


def test_failure_shows_last_lines_and_leaves_dvc_in_order(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["export"].update(fail=True))
    with pytest.raises(tries.StageFailed) as caught:
        stages.run_stage(planned("export@b"), context(stages, done), print)
    assert "cannot export b" in caught.value.tail
    assert str(caught.value).startswith("exit code 1 after ")  # the stage's own, not DVC's
    assert not isinstance(caught.value, tries.TransientFailure)
    assert holders(done) == {}


def test_timeout_is_the_stages_own(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["train"].update(seconds=30, escape=True))
    started = time.monotonic()
    with pytest.raises(tries.StageFailed, match=r"ran past 2 s \(pipeline.stage_timeout\)"):
        stages.run_stage(planned("train@b"), context(stages, done, timeout=2.0), print)
    assert time.monotonic() - started < 10
    assert holders(done) == {}


def test_busy_files_are_retry_condition(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["train"].update(rate=3))
    path = done.folder / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(exist_ok=True)
    held = {"pid": os.getpid(), "cmd": "dvc repro"}
    path.write_text(json.dumps({"write": {str(done.folder / "outputs" / "train" / "b"): held}}))
    with pytest.raises(tries.TransientFailure, match="another DVC process holds its files"):
        stages.run_stage(planned("train@b"), context(stages, done), print)
    path.unlink()
    assert stages.run_stage(planned("train@b"), context(stages, done), print).status == "ran"


def test_dvcs_own_lock_is_waited_for(stages: Any, done: Any) -> None:
    """DVC alone gives up after three seconds, also on a training that has just ended."""
    done.change(lambda content: content["runs"]["b"]["train"].update(rate=4))
    with (done.folder / ".dvc" / "tmp" / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(4.5, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        assert stages.run_stage(planned("train@b"), context(stages, done), print).status == "ran"


def test_forced_training_starts_anew(stages: Any, done: Any) -> None:
    fake = context(stages, done)
    folder = fake.project.workspace.checkpoints("b")
    (folder / "fingerprint").mkdir(parents=True)
    assert stages.run_stage(planned("train@b"), fake, print).status == "unchanged"
    assert folder.exists()
    assert stages.run_stage(planned("train@b", force=True), fake, print).status == "ran"
    assert not folder.exists()
    folder.mkdir(parents=True)  # of a first try that was killed
    assert stages.run_stage(planned("train@b", force=True), fake, print).status == "ran"
    assert folder.exists()


def _both(stages: Any, fake: Any, shared: Any) -> dict[str, tuple[float, float]]:
    shared.project = Project(fake.folder)
    threads = [threading.Thread(target=stages.run_stage, args=(planned(f"train@{run}"), shared, print)) for run in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    times = fake.timeline()
    return {run: times[f"train@{run}"] for run in ("a", "b")}


def test_stages_run_side_by_side_where_cores_allow(stages: Any, done: Any) -> None:
    shutil.rmtree(done.folder / ".work" / "running")
    # Each goes on only when it has met the other.
    meet = {"a": {"meet": "train@b"}, "b": {"meet": "train@a"}}
    done.change(lambda content: [content["runs"][run]["train"].update(block) for run, block in meet.items()])
    times = _both(stages, done, context(stages, done, cores=2))
    assert max(start for start, _ in times.values()) < min(end for _, end in times.values())
    assert done.dvc("status", "train@a", "train@b") == "Data and pipelines are up to date.\n"  # both stand in dvc.lock


@pytest.mark.parametrize("key", ["threads", "processes"])
def test_trainings_wait_for_their_cores(stages: Any, done: Any, key: str) -> None:
    done.change(lambda content: [content["runs"][run]["train"].update({key: 2, "seconds": 1.0}) for run in ("a", "b")])
    times = _both(stages, done, context(stages, done, cores=3))
    assert max(start for start, _ in times.values()) >= min(end for _, end in times.values())


@pytest.mark.parametrize(("processes", "told"), [(1, "cuda:0"), (2, "cuda:0,cuda:1")])
def test_stage_is_told_which_of_several_devices_are_its_own(
    stages: Any, done: Any, monkeypatch: pytest.MonkeyPatch, processes: int, told: str
) -> None:
    monkeypatch.delenv("DARKROOM_DEVICE", raising=False)
    done.change(lambda content: content["runs"]["b"]["train"].update(processes=processes))
    lines: list[str] = []
    stages.run_stage(planned("train@b", force=True), context(stages, done, devices=3), lines.append)
    assert f"train b starts on {told}" in lines


def test_dvc_passes_on_that_a_stage_asks_for_another_try(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["train"].update(code=75))
    with pytest.raises(tries.TransientFailure, match="transient failure"):
        stages.run_stage(planned("train@b"), context(stages, done), print)


def test_a_lost_stage_is_tried_twice_more(stages: Any, done: Any) -> None:
    done.change(lambda content: content["runs"]["b"]["train"].update(code=-9))
    shared = context(stages, done)
    shared.kills["train@b"] = 1
    with pytest.raises(tries.KilledByOthers):
        stages.run_stage(planned("train@b"), shared, print)
    with pytest.raises(tries.StageFailed, match=r"killed by SIGKILL .* \(the last of 3 times\)") as caught:
        stages.run_stage(planned("train@b"), shared, print)
    assert not isinstance(caught.value, tries.TransientFailure)


def test_a_kind_of_stage_may_have_a_timeout_of_its_own(stages: Any, done: Any) -> None:
    """Also one that does not listen, and has started what left its group."""

    def slow(content: dict[str, Any]) -> None:
        content["pipeline"]["stage_timeouts"] = {"train": 1.5}
        content["runs"]["b"]["train"].update(seconds=60, escape=True, deaf=True)

    done.change(slow)
    shared = context(stages, done)
    assert shared.limit_of("export") == tries.Limit(60.0)
    with pytest.raises(tries.StageFailed, match=r"ran past 1.5 s \(pipeline.stage_timeouts.train\)"):
        stages.run_stage(planned("train@b"), shared, print)
    assert _at_work_in(done.folder) == []


def _at_work_in(folder: Path) -> list[str]:
    """Command lines of what a flow has started to work in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_text(errors="replace").split("\0")
            if f"PYTHONPATH={folder}" in environment:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
