"""A project as its users have it: a stranger's recipe and a folder of one's own, through all stages, killed and rebuilt."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import torch
from finished import add_pictures, clone, finished_project, params_of_both
from workbench import environment, run, write_params

OWN = ("fetch@mine", "augment@mine", "train@own", "export@own", "evaluate@own")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project after its first ``dvc repro``."""
    return finished_project(tmp_path_factory)


def test_all_five_stages_leave_their_outs(project):
    outs = project / "outputs"
    saved = torch.load(outs / "train/toy/weights.pt", weights_only=True)
    assert saved["settings"]["train"]["steps"] == 300
    assert saved["settings"]["train"]["ema_decay"] == 0.9
    curves = (outs / "train/toy/curves.csv").read_text().splitlines()
    assert curves[0] == "step,coded,distance,fooling,learning_rate,real"
    assert [line.split(",")[0] for line in curves[1:4]] == ["20", "40", "60"]
    parity = json.loads((outs / "export/toy/parity.json").read_text())
    assert parity["coder"]["max_abs_difference"] <= parity["coder"]["bound"]
    assert json.loads((outs / "evaluate/toy/metrics.json").read_text())["squared_error"] > 0
    assert {"accuracy", "calibration_error"} <= json.loads((outs / "evaluate/own/metrics.json").read_text()).keys()
    assert (outs / "evaluate/own/plots/confusion.png").stat().st_size > 0
    assert not list((project / ".work").glob("checkpoints/*/*")), "export forgets the checkpoints of a finished training"


def test_nothing_is_left_to_do_and_the_registry_holds_each_model_once(project):
    assert "up to date" in run("dvc", "repro", cwd=project).stdout
    for name in ("toy", "own"):
        assert json.loads((project / f".work/published/{name}.json").read_text())["version"] == 1
    planned = run("python", "-m", "flows", "plan", "--all", cwd=project).stdout
    assert planned.startswith("nothing to do")


@pytest.mark.slow
def test_another_folder_and_a_killed_training_end_in_the_same_lock(project, tmp_path):
    """SIGKILL to the stage and DVC in mid-training; the next repro goes on from the checkpoint, to the same bytes."""
    twin = clone(tmp_path / "another" / "folder with a name")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen(["dvc", "repro"], cwd=twin, env=environment(), **silent)
    deadline = time.monotonic() + 90
    while not list((twin / ".work/checkpoints/train@toy").glob("*/*.pt")):
        assert time.monotonic() < deadline, "no checkpoint came"
        assert process.poll() is None, "the repro ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (twin / "outputs/train/toy/weights.pt").exists()
    assert "resuming from the checkpoint at step" in run("dvc", "repro", cwd=twin).stderr
    assert (twin / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()


@pytest.mark.slow
def test_outs_come_back_from_the_cache_and_the_work_folder_is_rebuilt(project):
    before = (project / "dvc.lock").read_bytes()
    shutil.rmtree(project / "outputs")
    shutil.rmtree(project / ".work")
    assert "Running stage" not in run("dvc", "repro", cwd=project).stdout
    assert (project / "dvc.lock").read_bytes() == before
    for name in ("toy", "own"):
        run("python", "-m", "components", "publish", name, cwd=project)
        assert json.loads((project / f".work/published/{name}.json").read_text())["version"] == 1


def changed(project) -> set[str]:
    return {
        line.split(":")[0]
        for line in run("dvc", "status", cwd=project).stdout.splitlines()
        if line[:1].isalpha() and "@" in line
    }


def test_a_picture_makes_exactly_its_runs_stale(project):
    add_pictures(project / "pictures", 1, seed=1)
    assert changed(project) == {"fetch@mine"}
    planned = run("python", "-m", "flows", "plan", "--all", cwd=project).stdout
    stages = {
        line.split()[0] for line in planned.splitlines() if line.startswith(("fetch", "augment", "train", "export", "eval"))
    }
    assert stages == set(OWN)
    assert "pictures: 2 pictures added" in planned
    for path in (project / "pictures").glob("*/1-*.png"):
        path.unlink()
    assert changed(project) == set()


@pytest.mark.slow  # tests/test_checked.py holds the same of the stage's own check
def test_bare_dvc_makes_the_checks_of_the_flow_before_it_trains(project):
    """A moving average that still held its random start was trained and published."""
    params, lock = params_of_both(), (project / "dvc.lock").read_bytes()
    params["runs"]["own"]["train"]["ema_decay"] = 0.999
    write_params(project, params)
    failed = run("dvc", "repro", "--single-item", "train@own", cwd=project, check=False)
    write_params(project, params_of_both())
    assert failed.returncode != 0
    assert "runs.own.train.ema_decay: 0.999 is not allowed: after " in failed.stderr
    run("dvc", "repro", cwd=project)  # brings back what DVC removed before it started the stage
    assert (project / "dvc.lock").read_bytes() == lock


def test_an_evaluation_setting_or_link_retrains_nothing(project):
    params = params_of_both()
    params["runs"]["own"]["evaluate"] = {"calibration_bins": 10}
    params["links"]["second"] = {"run": "toy", "stage": "evaluate", "role": "second", "from": "outputs/views/plain"}
    write_params(project, params)
    found = changed(project)
    write_params(project, params_of_both())
    assert "evaluate@own" in found
    assert not {name for name in found if name.startswith(("fetch", "augment", "train", "export"))}


@pytest.mark.slow  # tests/fetch/test_recognise.py names a broken picture, tests/test_checked.py a single class
@pytest.mark.parametrize(
    ("block", "value", "message"), [("mine", None, "a broken picture"), ("own", "one class", "needs at least 2")]
)
def test_bad_pictures_are_refused_by_name_and_nothing_is_lost(project, block, value, message):
    pictures = project / "pictures"
    kept = pictures.with_name("kept")
    shutil.copytree(pictures, kept)
    lock = (project / "dvc.lock").read_bytes()
    try:
        if value is None:
            (pictures / "light" / "zz.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
            failed = run("dvc", "repro", "evaluate@own", cwd=project, check=False)
            assert "zz.png" in failed.stderr + failed.stdout
        else:
            shutil.rmtree(pictures / "dark")
            failed = run("dvc", "repro", "evaluate@own", cwd=project, check=False)
            assert message in failed.stderr + failed.stdout
        assert failed.returncode != 0
        assert "Traceback" not in failed.stderr
    finally:
        shutil.rmtree(pictures)
        kept.rename(pictures)
        (project / "dvc.lock").write_bytes(lock)
    run("dvc", "repro", cwd=project)
    assert (project / "dvc.lock").read_bytes() == lock
