"""The launcher with children that import nothing: who failed is said, what is stopped ends in order."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from workbench import ROOT, environment, run_settings

from components.core.runtime import exclusive_device, pick_device
from components.stages.train import stage
from components.stages.train.launch import launch
from components.stages.train.loop import Stopped

CHILD = """
import os, pathlib, signal, sys, time
rank, folder = int(os.environ["RANK"]), pathlib.Path(sys.argv[1])
def wait():
    while True:
        time.sleep(0.05)
def meet():
    (folder / str(rank)).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.01)
"""


def launched(folder, code, processes=2):
    (folder / "met").mkdir()
    return launch(["-c", CHILD + code, str(folder / "met")], processes)


def test_all_are_told_who_they_are_and_nothing_is_left_in_our_environment(tmp_path, capfd):
    code = 'print(os.environ["RANK"], os.environ["WORLD_SIZE"], os.getppid() == int(os.environ["DARKROOM_LAUNCHER"]))'
    before = dict(os.environ)
    assert launched(tmp_path, code) == 0
    assert capfd.readouterr().out == "0 2 True\n", "rank 0 alone is heard"
    assert dict(os.environ) == before


def test_the_error_of_the_one_that_failed_comes_last(tmp_path, capfd):
    code = "meet()\nif rank == 1:\n    sys.exit('error: no such thing')\ntry:\n    wait()\nfinally:\n    sys.exit(75)"
    assert launched(tmp_path, code) == 1
    *_, cause, end = [line for line in capfd.readouterr().err.splitlines() if line]
    assert cause == "error: no such thing"
    assert end == "process 1 of 2 failed; the others were ended"


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_killed_is_named(tmp_path, capfd, rank):
    assert launched(tmp_path, f"meet()\nif rank == {rank}:\n    os.kill(os.getpid(), signal.SIGKILL)\nwait()") == 128 + 9
    assert f"process {rank} of 2 (pid " in capfd.readouterr().err


def test_sigterm_is_passed_on_and_waited_for_however_often_it_comes(tmp_path):
    """The parent of the children is this process."""
    code = f"""
def end(*_):
    time.sleep(0.5 * rank)
    pathlib.Path({str(tmp_path)!r}, f"saved.{{rank}}").touch()
    os._exit(143)
signal.signal(signal.SIGTERM, end)
meet()
if rank == 0:
    os.kill(os.getppid(), signal.SIGTERM)
    os.kill(os.getppid(), signal.SIGTERM)
wait()
"""
    before = signal.getsignal(signal.SIGTERM)
    assert launched(tmp_path, code) == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.glob("saved.*")} == {"saved.0", "saved.1"}
    assert signal.getsignal(signal.SIGTERM) is before


def test_each_process_has_a_device_of_its_own(monkeypatch):
    monkeypatch.setenv("DARKROOM_DEVICE", "cuda:1,cuda:3")
    assert [pick_device(rank) for rank in range(2)] == [torch.device("cuda:1"), torch.device("cuda:3")]
    with pytest.raises(ValueError, match="process 2 on this machine has no device left: there are cuda:1, cuda:3"):
        pick_device(2)
    monkeypatch.setenv("DARKROOM_DEVICE", "cpu")
    assert [pick_device(rank) for rank in range(3)] == [torch.device("cpu")] * 3


def test_two_trainings_that_want_the_same_devices_do_not_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("components.core.runtime.WORK", tmp_path)
    first, second = torch.device("cuda:0"), torch.device("cuda:1")
    with exclusive_device(second, first, torch.device("cpu")):
        assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == ["cuda0", "cuda1"]
        with pytest.raises(BlockingIOError):
            take_at_once(tmp_path / "locks" / "cuda1")
    take_at_once(tmp_path / "locks" / "cuda1")


def take_at_once(path):
    import fcntl

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


NCCL = """
import os, torch
from components.core.runtime import pick_device
from components.core.step import gather, optimize
from components.stages.train.processes import anyone, place_in, process_group
place = place_in(os.environ, 2, "runs.test.train")
device = pick_device(place.local_rank)
with process_group(place, device):
    weight = torch.nn.Parameter(torch.ones(2, device=device))
    optimize((weight * (place.rank + 1)).sum(), torch.optim.SGD([weight], lr=1.0))
    assert weight.tolist() == [-0.5, -0.5] and weight.device == device, weight
    assert gather(torch.full((1,), place.rank, device=device)).tolist() == [0, 1]
    assert anyone(place.rank == 1) and not anyone(False)
"""


@pytest.mark.gpu
def test_two_gpus_share_an_update():
    if torch.cuda.device_count() < 2:
        pytest.skip("fewer than two GPUs")
    start = f"from components.stages.train.launch import launch; raise SystemExit(launch(['-c', {NCCL!r}], 2))"
    command = [sys.executable, "-c", start]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("inputs", "says"), [("", "at step 7; no checkpoint was asked for"), ("key", "checkpoint at step 7")])
def test_a_stopped_training_says_whether_a_checkpoint_is_there(monkeypatch, capsys, inputs, says):
    def stopped(*_, **__):
        raise Stopped(7)

    monkeypatch.setattr(stage, "train_process", stopped)
    settings = run_settings("vit", {"patch": 4, "width": 16, "depth": 1, "heads": 2})
    with pytest.raises(SystemExit, match="143"):
        stage.run(SimpleNamespace(run=lambda name: settings), "test", inputs=inputs)
    assert capsys.readouterr().err.strip().endswith(says)
