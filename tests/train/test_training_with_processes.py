"""The train stage with two processes, run by DVC as it will be, and killed in every way."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workbench import environment, make_project, run, toy_params

pytestmark = pytest.mark.slow
PATIENCE = 300.0  # seconds, on a busy machine
STEPS, EVERY = 100, 20


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The toy, ready to train on two processes."""
    folder = make_project(
        tmp_path_factory.mktemp("processes") / "project", toy_params(processes=2, steps=STEPS, checkpoint_every=EVERY)
    )
    for stage in ("code", "fetch@digits", "augment@plain", "augment@turned", "wire@toy", "link@toy_other"):
        run("dvc", "repro", "-s", stage, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(project):
    """The outs of a training by DVC that nobody disturbed, by name."""
    done = run("dvc", "repro", "-s", "train@toy", cwd=project)
    assert f"toy: {STEPS} steps on cpu, fp32, 2 processes" in done.stderr
    assert "resuming" not in done.stderr
    again = run("dvc", "repro", "-s", "train@toy", cwd=project)
    assert "didn't change, skipping" in again.stdout
    return outs(project)


@pytest.fixture
def afresh(project, undisturbed):
    """The project without outs and checkpoints, so that a training starts at step 0."""
    for path in [*(project / "outputs/train/toy").glob("*"), *checkpoints(project)]:
        path.unlink()
    return project


def outs(project):
    return {path.name: path.read_bytes() for path in (project / "outputs/train/toy").iterdir()}


def checkpoints(project):
    return sorted((project / ".work/checkpoints/train@toy").glob("*/*.pt"))


class Training:
    """``python -m components.stages.train toy`` up to its first checkpoint."""

    def __init__(self, project, log):
        command = [sys.executable, "-m", "components", "train", "toy"]
        self.project, self.log = project, log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=project, env=environment(), stdout=file, stderr=file)
        before = checkpoints(project)
        wait_for(lambda: checkpoints(project) != before or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()
        self.ranks = {int(variables(pid)["RANK"]): pid for pid in children(self.process.pid)}
        assert set(self.ranks) == {0, 1}

    def ends(self):
        """Its exit code, once all processes are gone; nobody else ends them."""
        code = self.process.wait(PATIENCE)
        wait_for(lambda: not any(alive(pid) for pid in self.ranks.values()))
        return code

    def said(self):
        return self.log.read_text(errors="replace")

    def clean_up(self):
        for pid in (self.process.pid, *getattr(self, "ranks", {}).values()):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def training(afresh, tmp_path):
    found = Training(afresh, tmp_path / "log")
    yield found
    found.clean_up()


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def children(pid):
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def variables(pid):
    return dict(entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def resumed(project):
    done = run(sys.executable, "-m", "components", "train", "toy", cwd=project)
    assert "resuming from the checkpoint at step" in done.stderr
    return outs(project)


@pytest.mark.parametrize(
    ("whom", "number", "ending"),
    [
        ("all", signal.SIGKILL, (-9, "")),
        ("launcher", signal.SIGKILL, (-9, "stopped by SIGTERM, checkpoint at step")),
        (0, signal.SIGKILL, (137, "process 0 of 2 (pid ")),
        (1, signal.SIGTERM, (143, "")),
    ],
)
def test_whoever_is_killed_nothing_is_left_and_the_resumed_training_ends_at_the_same_bits(
    training, undisturbed, whom, number, ending
):
    code, says = ending
    everyone = {"launcher": training.process.pid, **training.ranks}
    for pid in everyone.values() if whom == "all" else [everyone[whom]]:
        os.kill(pid, number)
    assert training.ends() == code
    assert says in training.said()
    assert resumed(training.project) == undisturbed


def test_the_end_of_dvc_is_the_end_of_all(afresh, tmp_path):
    """Without a flow's leash: DVC alone is killed, as by an impatient user. A shell that is no bash must not survive it."""
    command = ["dvc", "repro", "-f", "-s", "train@toy"]
    with (tmp_path / "log").open("wb") as log:
        dvc = subprocess.Popen(command, cwd=afresh, env=environment(SHELL="/bin/sh"), stdout=log, stderr=log)
    wait_for(lambda: checkpoints(afresh) or dvc.poll() is not None)
    (launcher,) = children(dvc.pid)
    everyone = [launcher, *children(launcher)]
    dvc.kill()
    dvc.wait()
    assert len(everyone) == 3
    wait_for(lambda: not any(alive(pid) for pid in everyone))


def test_two_machines_with_clones_of_their_own_share_a_training_by_torchruns_environment(afresh, undisturbed, tmp_path):
    other = shutil.copytree(afresh, tmp_path / "other", ignore=shutil.ignore_patterns(".work", ".git"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outside = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "components", "train", "toy"]
    second = subprocess.Popen(command, cwd=other, env=environment(**outside, RANK="1"))
    try:
        run(*command, cwd=afresh, **outside, RANK="0")
        assert second.wait(PATIENCE) == 0
    finally:
        second.kill()
        second.wait()
    assert outs(afresh) == undisturbed
    assert not list((other / "outputs/train/toy").glob("*")), "rank 0 alone writes"


def test_an_error_of_training_stands_in_the_last_lines(afresh):
    recipe = afresh / "components/families/toy/recipe.py"
    before = recipe.read_text()
    recipe.write_text(before.replace("clean, real = ", 'assert step < 5, "too far"\n        clean, real = '))
    try:
        done = run("dvc", "repro", "train@toy", cwd=afresh, check=False)  # by stage `code` it learns of the edit
    finally:
        recipe.write_text(before)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert any("AssertionError: too far" in line for line in lines[-20:])
    assert done.returncode
