"""A study in a clone: DVC compares its revisions, and runs and shows its experiments."""

import json
import sqlite3
import time
from contextlib import closing

import pytest
from workbench import make_project, run, toy_params

GIT = {f"GIT_{who}_{what}": f"{who}@example.org".lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
STEPS = "runs.toy.train.steps"


def study_params(steps: int) -> dict:
    """The toy, from a folder two below the code."""
    params = toy_params(steps=steps, ema_decay=0.5)
    params["root"] = "../.."
    params["datasets"]["digits"]["path"] = f"../../{params['datasets']['digits']['path']}"
    return params


@pytest.mark.slow
def test_dvc_sees_both_sides_of_a_change_in_a_study(tmp_path):
    """A dvc.yaml that is a symbolic link has an empty side in every revision."""
    origin = make_project(tmp_path / "origin", toy_params(steps=20, ema_decay=0.5))
    study = origin / "experiments/tiny"
    study.mkdir(parents=True)
    (study / "params.yaml").write_text(json.dumps(study_params(steps=20), indent=1), encoding="utf-8")
    assert "wrote experiments/tiny/dvc.yaml" in run("python", "-m", "flows", "graph", cwd=origin).stdout
    run("dvc", "config", "cache.dir", str(tmp_path / "cache"), cwd=origin)
    run("dvc", "repro", "--quiet", cwd=study)
    run("git", "add", "--all", cwd=origin)
    run("git", "commit", "--quiet", "--message", "20 steps", cwd=origin, **GIT)
    run("git", "clone", "--quiet", str(origin), "clone", cwd=tmp_path)
    study = tmp_path / "clone/experiments/tiny"

    said = run("dvc", "exp", "run", "-S", f"{STEPS}=10", cwd=study, **GIT).stdout
    assert "Running stage 'train@toy'" in said
    run("git", "commit", "--quiet", "--all", "--message", "10 steps", cwd=study, **GIT)

    def dvc(*words: str) -> object:
        return json.loads(run("dvc", *words, "--json", cwd=study).stdout)

    assert dvc("params", "diff", "HEAD~1") == {"params.yaml": {STEPS: {"old": 20, "new": 10, "diff": -10}}}
    error = dvc("metrics", "diff", "HEAD~1")["outputs/evaluate/toy/metrics.json"]["squared_error"]
    assert error["old"] > 0
    assert error["new"] > 0
    assert error["old"] != error["new"]
    curves = dvc("plots", "diff", "HEAD~1")["data"]["outputs/train/toy/curves.csv"][0]["content"]
    assert {row["rev"] for row in curves["data"]["values"]} == {"workspace", "HEAD~1"}
    steps, errors = set(), set()
    for row in dvc("exp", "show", "--num", "2"):  # the workspace and two commits; paths from the root, which has no results
        data = row["data"]
        steps.add(data["params"]["experiments/tiny/params.yaml"]["data"]["runs"]["toy"]["train"]["steps"])
        errors.add(data["metrics"]["experiments/tiny/outputs/evaluate/toy/metrics.json"]["data"]["squared_error"])
    assert steps == {20, 10}
    assert errors == {error["old"], error["new"]}


@pytest.mark.slow
def test_a_queued_experiment_is_recorded_in_the_clone_that_queued_it(tmp_path):
    """It runs in a temporary copy of the clone, which DVC removes."""
    clone = make_project(tmp_path / "clone", toy_params(steps=20, ema_decay=0.5))
    run("git", "add", "--all", cwd=clone)
    run("git", "commit", "--quiet", "--message", "20 steps", cwd=clone, **GIT)
    run("dvc", "exp", "run", "--queue", "-S", f"{STEPS}=10", cwd=clone, **GIT)
    run("dvc", "queue", "start", cwd=clone, **GIT)
    deadline = time.monotonic() + 600
    while "Success" not in (said := run("dvc", "queue", "status", cwd=clone).stdout):
        assert "Failed" not in said
        assert time.monotonic() < deadline, said
        time.sleep(2)
    (database,) = clone.glob(".work/mlflow-*/mlflow.db")
    with closing(sqlite3.connect(database)) as records:
        assert ("train.steps", "10") in records.execute("SELECT key, value FROM params").fetchall()
