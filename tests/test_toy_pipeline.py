"""A stranger's recipe through all five stages: two optimizers, two streams, a link, an average; killed, resumed, reproduced."""

import json
import os
import signal
import subprocess
import time

import pytest
import torch
from workbench import environment, make_project, run, toy_params, write_params


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The toy project after its first ``dvc repro``."""
    folder = make_project(tmp_path_factory.mktemp("clone") / "first", toy_params())
    run("dvc", "repro", cwd=folder)
    return folder


def test_all_five_stages_leave_their_outs(project):
    outs = project / "outputs"
    saved = torch.load(outs / "train/toy/weights.pt", weights_only=True)
    assert saved["settings"]["train"]["steps"] == 30
    assert saved["settings"]["train"]["average_decay"] == 0.9
    curves = (outs / "train/toy/curves.csv").read_text().splitlines()
    assert curves[0] == "step,coded,distance,fooling,learning_rate,real"
    assert [line.split(",")[0] for line in curves[1:]] == ["20", "30"]
    parity = json.loads((outs / "export/toy/parity.json").read_text())
    assert parity["coder"]["max_abs_difference"] <= parity["coder"]["bound"]
    assert json.loads((outs / "evaluate/toy/metrics.json").read_text())["squared_error"] > 0
    assert not list((project / ".work").glob("checkpoints/*/*")), "export forgets the checkpoints of a finished training"


def test_nothing_is_left_to_do_and_the_registry_holds_the_model_once(project):
    assert "up to date" in run("dvc", "repro", cwd=project).stdout
    marker = json.loads((project / ".work/published/toy.json").read_text())
    assert marker["version"] in (1, "1")


def test_another_folder_and_a_killed_training_give_the_same_lock(project, tmp_path):
    """SIGKILL to every process of the stage in mid-training; the next repro goes on from the checkpoint."""
    slow = toy_params(steps=400, checkpoint_every=10)
    twin = make_project(tmp_path / "another" / "folder name", slow)
    run("dvc", "repro", "train@toy", "--downstream", "--dry", cwd=twin, check=False)
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=twin,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    checkpoints = twin / ".work/checkpoints/train@toy"
    deadline = time.monotonic() + 90
    while not list(checkpoints.glob("*/*.pt")):
        assert time.monotonic() < deadline, "no checkpoint came"
        assert process.poll() is None, "the repro ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (twin / "outputs/train/toy/weights.pt").exists()
    output = run("dvc", "repro", cwd=twin)
    assert "resuming from the checkpoint at step" in output.stderr

    write_params(project, slow)
    run("dvc", "repro", cwd=project)
    assert (twin / "dvc.lock").read_bytes() == (project / "dvc.lock").read_bytes()


def test_outs_come_back_from_the_cache_and_the_work_folder_is_rebuilt(project):
    import shutil

    before = (project / "dvc.lock").read_bytes()
    shutil.rmtree(project / "outputs")
    shutil.rmtree(project / ".work")
    output = run("dvc", "repro", cwd=project).stdout
    assert "Running stage 'train" not in output
    assert (project / "dvc.lock").read_bytes() == before
    run("python", "-m", "components.evaluate", "toy", "--publish", cwd=project)
    assert json.loads((project / ".work/published/toy.json").read_text())["version"] in (1, "1")


def test_an_evaluation_setting_retrains_nothing_and_a_new_image_everything_below(project):
    params = toy_params(steps=400, checkpoint_every=10)
    params["links"]["toy_second"] = {"run": "toy", "stage": "evaluate", "role": "second", "from": "outputs/views/plain"}
    write_params(project, params)
    assert "train@toy" not in run("dvc", "status", cwd=project).stdout
