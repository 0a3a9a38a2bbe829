"""A project whose stages have all run: the toy on digits and a classifier of the user's own folder. Made once."""

import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from forks import forked_stages
from PIL import Image
from workbench import add_own, environment, make_project, run, toy_params


def params_of_both() -> dict:
    """The toy on digits, and a classifier of the user's own folder."""
    return add_own(toy_params(steps=300, checkpoint_every=10))


def add_pictures(folder: Path, count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for name in ("light", "dark"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = generator.integers(0, 128, size=(20, 24, 3)) + 127 * (name == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{seed}-{index}.png")


def clone(folder: Path) -> Path:
    """A fresh project with the pictures that every clone has."""
    made = make_project(folder, params_of_both())
    add_pictures(made / "pictures", 15, seed=0)
    return made


def finished_project(factory: pytest.TempPathFactory) -> Path:
    """Return the project after its first ``dvc repro``; the worker that asks first makes it, others wait.

    What is published names the folder, so one file of tests has the project itself, and may change it; others have copies.
    """
    return _made(factory) / "finished"


def copy_of_finished_project(factory: pytest.TempPathFactory, folder: Path) -> Path:
    """Copy the project as it was after its first ``dvc repro`` to ``folder``; nothing is published there."""
    return Path(shutil.copytree(_made(factory) / "snapshot", folder, symlinks=True))


def _made(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (base / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "snapshot").exists():
            for name in ("forks", "finished", "copying"):
                shutil.rmtree(base / name, ignore_errors=True)
            with forked_stages(base / "forks") as first:
                path = os.pathsep.join([str(first), environment()["PATH"]])
                run("dvc", "repro", cwd=clone(base / "finished"), PATH=path)
            shutil.copytree(base / "finished", base / "copying", symlinks=True).rename(base / "snapshot")
    return base
