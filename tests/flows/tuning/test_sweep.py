"""A sweep finds the better settings, survives a kill, and its best values come into params.yaml."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ruamel.yaml import YAML

from tests.workbench import environment, make_project, run, toy_params

pytestmark = pytest.mark.slow
SEARCH = {"train.learning_rate": {"low": 1e-5, "high": 0.3, "log": True}, "train.batch_size": [8, 16]}


def classifier() -> dict:
    """A classifier of digits, 40 updates."""
    params = toy_params()
    params["views"]["plain"]["image_size"] = 16
    train = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 40, "batch_size": 16, "optimizer": "adamw"}
    params["runs"] = {
        "own": {
            "recipe": "classification",
            "view": "plain",
            "model": {"name": "vit", "patch": 8, "width": 16, "depth": 1, "heads": 2},
            "train": train | {"learning_rate": 1e-5, "validate_every": 10},
            "export": {},
            "evaluate": {},
            "promote": {},
            "search": SEARCH,
        }
    }
    return params | {"pipeline": {"runs": ["own"]}, "links": {}}


def make(folder):
    project = make_project(folder, classifier())
    with (project / "params.yaml").open("w") as file:
        YAML().dump(classifier(), file)
    return project


def sweep(project, *words):
    command = [sys.executable, "-m", "flows", "sweep", "own", "--project", str(project), *words]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project, env=environment(PYTHONPATH=str(project)), **options)


def finished(project, *words) -> str:
    process = sweep(project, *words)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def trials(project) -> list[dict]:
    with (project / ".work/sweeps/own/trials.csv").open() as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["trial"]))


def test_a_killed_sweep_ends_as_an_undisturbed_one_and_finds_better_settings(tmp_path):
    undisturbed, killed = make(tmp_path / "a"), make(tmp_path / "b")
    output = finished(undisturbed, "--trials", "4", "--no-prune")
    rows = trials(undisturbed)
    assert [row["state"] for row in rows] == ["complete"] * 4
    values = [float(row["negative_log_likelihood"]) for row in rows]
    chosen = rows[values.index(min(values))]
    assert float(chosen["train.learning_rate"]) > 1e-4  # of 1e-5 nothing is learnt in 40 updates
    assert f"learning_rate: {chosen['train.learning_rate']}" in output

    process = sweep(killed, "--trials", "4", "--no-prune")
    for line in process.stdout:
        if line.startswith("trial 1:"):
            time.sleep(1.0)  # in the third training
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert "goes on" in finished(killed, "--trials", "4", "--no-prune")
    assert trials(killed) == rows
    assert not list((killed / ".work/sweeps/own").glob("own-trial-*"))
    assert not list((killed / ".work/checkpoints").glob("*trial*"))


def test_apply_writes_the_best_and_more_trials_go_on(tmp_path):
    project = make(tmp_path / "p")
    finished(project, "--trials", "2")
    first = trials(project)
    finished(project, "--trials", "3", "--apply")
    rows = trials(project)
    assert rows[:2] == first
    assert len(rows) == 3
    params = YAML(typ="safe").load((project / "params.yaml").read_text())
    drawn = [(float(row["train.learning_rate"]), int(row["train.batch_size"])) for row in rows]
    train = params["runs"]["own"]["train"]
    assert (train["learning_rate"], train["batch_size"]) in drawn
    assert (project / ".work/sweeps/own/sweep.png").stat().st_size > 10_000
    run("python", "-m", "components", "check", cwd=project, PYTHONPATH=str(project))


def test_a_greedy_search_of_the_probabilities_of_a_view_and_a_block(tmp_path):
    params = classifier()
    params["views"]["plain"]["augment"] = [{"RandAugment": {"p": 0.5}}]
    params["runs"]["own"]["train"] |= {"learning_rate": 0.01, "steps": 20}
    params["runs"]["own"]["search"] = {"view.RandAugment.p": [0.0, 1.0], "train.random_erasing.probability": [0.0, 0.5, 1.0]}
    project = make_project(tmp_path / "p", params)
    with (project / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    output = finished(project, "--sampler", "greedy", "--apply")
    rows = trials(project)
    assert len(rows) == 4  # 2 + 3, the incumbent once
    assert len({row["negative_log_likelihood"] for row in rows}) == 4  # each value acts, the view's policy too
    assert [row["view.RandAugment.p"] for row in rows[:2]] == ["0.0", "1.0"]
    best = min(rows, key=lambda row: float(row["negative_log_likelihood"]))
    applied = YAML(typ="safe").load((project / "params.yaml").read_text())
    assert applied["views"]["plain"]["augment"] == [{"RandAugment": {"p": float(best["view.RandAugment.p"])}}]
    erasing = applied["runs"]["own"]["train"]["random_erasing"]
    assert erasing == {"probability": float(best["train.random_erasing.probability"])}
    assert "4 trials" in output
    assert json.loads((project / "outputs/views/plain/policy.json").read_text())["transform"]["transforms"][0]["p"] == 0.5
    params["views"]["plain"]["augment"] = []
    with (project / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    assert "'RandAugment' must be in the view's augment once" in sweep(project, "--sampler", "greedy").communicate()[0]


def test_what_cannot_be_searched_is_refused_before_anything_runs(tmp_path):
    project = make(tmp_path / "p")
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("train.batch_size", "train.batchsize"))
    process = sweep(project)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "batchsize" in output
    assert not (project / "outputs").exists()
