"""Two clones as workers of one pool share a DVC remote, the servers' addresses, and nothing else; a third restores it all."""

from __future__ import annotations

import json
import sys
import urllib.request
from contextlib import ExitStack
from typing import Any

import pytest
from workbench import run

from tests.scale_out.conftest import QUIET, Yard, wait_for

RUNS = ("toy", "other")


def post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def states(api: str) -> dict[str, str]:
    """Run of params.yaml -> state of the flow run that was asked to make it."""
    found = post(f"{api}/flow_runs/filter", {})
    return {flow_run["parameters"]["runs"][0]: flow_run["state_type"] for flow_run in found}


@pytest.mark.slow
def test_two_workers_make_what_a_third_clone_restores(yard: Yard) -> None:
    storage = yard.folder / "storage"
    storage.mkdir()
    origin = yard.origin(str(storage))
    clones = {name: yard.clone(name) for name in ("one", "two", "three")}
    with ExitStack() as servers:
        api = servers.enter_context(yard.prefect())
        uri = servers.enter_context(yard.mlflow(f"sqlite:///{yard.folder}/mlflow.db"))
        places = {"PREFECT_API_URL": api, "MLFLOW_TRACKING_URI": uri}
        home = {"PREFECT_HOME": str(yard.folder / "client"), "PYTHONPATH": str(origin), **QUIET, **places}
        prefect = (sys.executable, "-m", "prefect", "--no-prompt")
        run(*prefect, "work-pool", "create", "darkroom", "--type", "process", cwd=origin, **home)
        run(*prefect, "deploy", "--name", "pipeline/pool", cwd=origin, **home)
        for name in ("one", "two"):
            worker = [sys.executable, "-m", "flows", "worker", "--name", name]
            servers.enter_context(yard.started(name, worker, clones[name], **places))
        wait_for(lambda: all("started!" in yard.log(name) for name in ("one", "two")), "the workers")
        for made in RUNS:
            run(*prefect, "deployment", "run", "pipeline/pool", "--param", f'runs=["{made}"]', cwd=origin, **home)
        over = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait_for(lambda: len(states(api)) == 2 and set(states(api).values()) <= over, "both flow runs", 400)
        logs = {name: yard.log(name) for name in ("one", "two")}
        assert states(api) == dict.fromkeys(RUNS, "COMPLETED"), "\n".join(log[-4000:] for log in logs.values())
        recorded = post(f"{uri}/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]})["runs"]
        found = urllib.request.urlopen(f"{uri}/api/2.0/mlflow/model-versions/search", timeout=30)
        versions = json.load(found)["model_versions"]

    trained = {name: [made for made in RUNS if f"Running stage 'train@{made}'" in log] for name, log in logs.items()}
    assert sorted(trained.values()) == [["other"], ["toy"]], trained
    assert all((clones[name] / ".work" / "shared" / "root" / f"train@{trained[name][0]}").is_file() for name in trained)
    assert not (origin / ".work").exists()
    assert sorted(entry["info"]["run_name"] for entry in recorded) == ["other", "other evaluation", "toy", "toy evaluation"]
    assert {entry["info"]["artifact_uri"].partition(":")[0] for entry in recorded} == {"mlflow-artifacts"}
    assert sorted((version["name"], version["version"]) for version in versions) == [("other", "1"), ("toy", "1")]

    third = clones["three"]
    restored = run("dvc", "repro", "--pull", cwd=third, DVC_SITE_CACHE_DIR=str(third / ".site")).stdout
    assert "Running stage" not in restored
    assert restored.count("is cached - skipping run") == 13
    for name, (made,) in trained.items():
        weights = f"outputs/train/{made}/weights.pt"
        assert (third / weights).read_bytes() == (clones[name] / weights).read_bytes()
    assert "up to date" in run("dvc", "status", cwd=third).stdout
