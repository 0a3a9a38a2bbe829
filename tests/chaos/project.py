"""A small project with real stages, to be killed; and its registry, read behind MLflow's back."""

from __future__ import annotations

import copy
import os
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from workbench import environment, toy_params, write_params

ROUNDS = ("everything", "training")  # what a round makes stale, in turn


def params(number: int) -> dict[str, Any]:
    """params.yaml of a round: in round 0, 2, ... all stages are stale, in the others those from the training on."""
    found = toy_params(steps=120, checkpoint_every=5)
    second = copy.deepcopy(found["runs"]["toy"])
    second["train"]["learning_rate"] = 2e-3 + 1e-4 * number
    second["view"] = "plain"
    found["runs"]["second"] = second
    found["links"]["second_other"] = {"run": "second", "stage": "train", "role": "other", "from": "outputs/views/turned"}
    found["runs"]["toy"]["train"]["learning_rate"] = 1e-3 + 1e-4 * number
    found["seed"] = number // len(ROUNDS)
    return found


class Project:
    """A copy of the code with two toy runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / ".work"

    def begin(self, number: int) -> None:
        """Make the round's stages stale."""
        write_params(self.folder, params(number))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """``python <words>`` in it; what it says is appended to ``said``."""
        env = environment(
            DARKROOM_WORK=str(self.work), DVC_SITE_CACHE_DIR=str(self.folder.parent / "site"), DO_NOT_TRACK="true"
        )
        env = {name: value for name, value in env.items() if name != "PYTHONPATH"} | {"DARKROOM_DEVICE": "cpu"}
        with self.said.open("ab") as output:
            command = ["python", *words]
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def said(self) -> Path:
        """All output of all that was started."""
        return self.folder.parent / f"{self.folder.name}.log"

    def lock(self) -> str:
        """dvc.lock's text; empty where there is none yet."""
        path = self.folder / "dvc.lock"
        return path.read_text() if path.exists() else ""

    def outs(self) -> dict[str, bytes]:
        """Every file below outputs/."""
        top = self.folder / "outputs"
        return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}

    def registered(self) -> Counter[tuple[str, ...]]:
        """How often MLflow holds each model version, run and evaluation, by their keys."""
        found: Counter[tuple[str, ...]] = Counter()
        for path in self.work.glob("mlflow-*/mlflow.db"):
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as database:
                for query in QUERIES:
                    found.update(database.execute(query).fetchall())
        return found

    def candidates(self) -> dict[str, str]:
        """Registered name -> key of the version that ``candidate`` stands at."""
        (path,) = self.work.glob("mlflow-*/mlflow.db")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as database:
            return dict(database.execute(CANDIDATES).fetchall())


QUERIES = (
    "select 'version', name, value from model_version_tags where key = 'darkroom.key'",
    """select 'run', name.value, key.value from runs
       join tags key on key.run_uuid = runs.run_uuid and key.key = 'darkroom.key'
       join tags name on name.run_uuid = runs.run_uuid and name.key = 'darkroom.name' where lifecycle_stage = 'active'""",
    """select 'evaluation', parent.value, own.value from runs
       join tags own on own.run_uuid = runs.run_uuid and own.key = 'darkroom.evaluation'
       join tags parent on parent.run_uuid = runs.run_uuid and parent.key = 'mlflow.parentRunId'
       where lifecycle_stage = 'active'""",
)
CANDIDATES = """select alias.name, tag.value from registered_model_aliases alias join model_version_tags tag
  on tag.name = alias.name and tag.version = alias.version where alias.alias = 'candidate' and tag.key = 'darkroom.key'"""


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group, if it lives."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()
