"""Promotion as its users have it: processes on a real project, then the same decisions as flows of a real Prefect server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import environment, make_project, run, toy_params, write_params

from flows.services.prefect_server import answers

pytestmark = pytest.mark.slow


def params_of(steps: int, seed: int = 0, bins: int = 15, **promote: object) -> dict:
    """One classifier of the digits."""
    params = toy_params()
    blocks = {"seed": seed, "threads": 1, "precision": "fp32", "steps": steps, "batch_size": 64, "learning_rate": 0.1}
    params["runs"] = {
        "own": {
            "recipe": "classification",
            "view": "plain",
            "model": {"name": "resnet18", "width": 8},
            "train": blocks | {"optimizer": "sgd"},
            "export": {},
            "evaluate": {"calibration_bins": bins},
            "promote": {
                "metric": "accuracy",
                "floor": 0.5,
                "margin": 0.2,
                "max_class_fall": 0.9,
                "latency_ms": 1000,
                **promote,
            },
        }
    }
    return params | {"pipeline": {"runs": ["own"]}, "links": {}}


def flows(project: Path, *words: str, **extra: str) -> tuple[int, str]:
    done = run("python", "-m", "flows", *words, cwd=project, check=False, **extra)
    return done.returncode, done.stdout + done.stderr


def train(project: Path, **options: object) -> None:
    write_params(project, params_of(**options))
    run("dvc", "repro", cwd=project)


def aliases(project: Path) -> dict[str, str]:
    """By a reader of its own: the registry's database."""
    query = "import sqlite3, json, sys; print(json.dumps(dict(sqlite3.connect(sys.argv[1]).execute("
    query += "'select alias, version from registered_model_aliases'))))"
    (database,) = project.glob(".work/mlflow-*/mlflow.db")
    return json.loads(run("python", "-c", query, str(database), cwd=project).stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a first model, published and not promoted."""
    folder = make_project(tmp_path_factory.mktemp("promotion") / "project", params_of(60))
    run("dvc", "repro", cwd=folder)
    return folder


def test_from_the_first_model_to_a_rollback(project: Path) -> None:
    """The steps of a champion's life, in order: each stands on the one before."""
    assert flows(project, "status")[1].splitlines()[1].startswith("own  never promoted")
    both = [
        subprocess.Popen(
            ["python", "-m", "flows", "promote", "own"], cwd=project, env=environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=300)[0].splitlines()[-1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == "own: version 1 is the champion already"
    assert said[1].startswith("own: version 1 is the champion now (promoted by ")
    assert aliases(project) == {"candidate": 1, "champion": 1}

    train(project, steps=1)
    code, output = flows(project, "promote", "own", "--comment", "too early")
    assert code == 1, output
    assert "version 1: scored on this data before" in output
    assert "FAILED  floor" in output
    assert "FAILED  margin" in output
    assert aliases(project) == {"candidate": 2, "champion": 1}
    assert "version 2: refused; by " in flows(project, "status")[1]

    train(project, steps=60, seed=1, bins=10)
    code, output = flows(project, "promote", "own")
    assert code == 0, output
    assert "version 1: accuracy" in output, "other evaluation settings: the champion must be scored again"
    assert aliases(project) == {"candidate": 3, "champion": 3, "previous": 1}

    served = next(
        path for path in project.glob(".work/mlflow-*/artifacts/**/artifacts/*/served.py") if is_of(path, project, "1")
    )
    kept = shutil.copytree(served.parent, project / "kept")
    shutil.rmtree(served.parent)
    code, output = flows(project, "rollback", "own")
    assert (code, "version 1 does not load" in output, "nothing was changed" in output) == (1, True, True), output
    assert aliases(project)["champion"] == 3
    kept.rename(served.parent)
    code, output = flows(project, "rollback", "own", "--comment", "complaints", "--by", "ada")
    assert code == 0, output
    assert aliases(project) == {"candidate": 3, "champion": 1, "previous": 3}
    audit = [json.loads(line) for line in (project / ".work/audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["version"], line["before"], line["after"]) for line in audit] == [
        ("promoted", 1, None, 1),
        ("refused", 2, 1, 1),
        ("promoted", 3, 1, 3),
        ("rolled back", 1, 3, 1),
    ]
    assert (audit[3]["by"], audit[3]["comment"]) == ("ada", "complaints")
    output = flows(project, "lineage", "own", "3")[1]
    assert "own version 3 (candidate, previous)" in output
    assert "train.seed" in output
    entry = next(line.split() for line in output.splitlines() if "outputs/export/own" in line)
    assert entry[2] == lock(project)["outs"][0]["md5"]


def is_of(path: Path, project: Path, version: str) -> bool:
    """Whether the served code belongs to the version, by the run's note of its model."""
    query = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("
    query += "'select source from model_versions where version = ?', (sys.argv[2],)).fetchone()[0])"
    (database,) = project.glob(".work/mlflow-*/mlflow.db")
    return run("python", "-c", query, str(database), version, cwd=project).stdout.strip().removeprefix("models:/") in path.parts


def lock(project: Path) -> dict:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(project / "dvc.lock")["stages"]["export@own"]


@pytest.fixture
def server(project: Path) -> Iterator[str]:
    """The address of a Prefect server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    quiet = {
        "PREFECT_HOME": str(project / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", str(port)]
    with (project / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment(**quiet), stdout=log, stderr=log)
    try:
        url, deadline = f"http://127.0.0.1:{port}/api", time.monotonic() + 180
        while not answers(f"{url}/health"):
            assert process.poll() is None, (project / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def flow_runs(server: str) -> list[tuple[str, str]]:
    """(name, state) of every flow run, as many as there were."""
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{server}/flow_runs/filter", b"{}", headers), timeout=30) as answer:
        found = json.load(answer)
    return sorted((entry["name"], entry["state"]["name"]) for entry in found)


def test_as_flows_where_a_prefect_server_is(project: Path, server: str) -> None:
    there = {"PREFECT_API_URL": server, "PREFECT_HOME": str(project / "prefect")}
    code, output = flows(project, "promote", "own", "--comment", "again, after the rollback", **there)
    assert code == 0, output
    train(project, steps=60, seed=2, floor=1.01)
    number = aliases(project)["candidate"]
    code, output = flows(project, "promote", "own", **there)
    assert (code, "FAILED  floor" in output) == (1, True), output
    write_params(project, params_of(steps=60, seed=2, approval=True))
    code, output = flows(project, "promote", "own", **there)
    assert code == 0, output
    code, output = flows(project, "approve", "own", str(number + 1), **there)
    assert (code, f"version {number + 1} does not wait for approval" in output) == (1, True), output
    code, output = flows(project, "approve", "own", "--comment", "seen", **there)
    assert code == 0, output
    assert aliases(project)["champion"] == number
    code, output = flows(project, "rollback", "own", **there)
    assert code == 0, output
    assert flow_runs(server) == [
        ("approve-own", "Completed"),
        ("approve-own", "Failed"),
        ("promote-own", "AwaitingApproval"),
        ("promote-own", "Completed"),
        ("promote-own", "Refused"),
        ("rollback-own", "Completed"),
    ]
