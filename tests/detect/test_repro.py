"""DVC on a project with detectors: which stages an edit of params.yaml runs; no recorded hash depends on the past."""

import copy
import json

import pytest
from ruamel.yaml import YAML
from workbench import make_project, run, small_classifier, toy_params, write_params

pytestmark = pytest.mark.slow

BUILT_IN = "components/stages/fetch/built_in.txt"
NOISE = {"source": "noise", "path": BUILT_IN, "image_size": 8, "channels": 1, "samples": 20, "kinds": ["uniform"]}


def params_of_detection() -> dict:
    """A classifier of the digits, two cheap detectors, one other view."""
    params = toy_params()
    params["runs"] = {"net": small_classifier("plain")}
    params["pipeline"] = {"runs": ["net"]}
    params["datasets"]["noise"] = NOISE
    params["views"]["noise"] = {"dataset": "noise", "image_size": 8, "channels": 1}
    params["detect"] = {"strange": {"run": "net", "view": "plain", "serve": "msp", "detectors": ["msp", "energy"]}}
    params["ood"] = {"noise": {"detect": "strange", "view": "noise", "kind": "far"}}
    served = {"run": "net", "stage": "export", "role": "detector", "from": "outputs/detect/strange/served"}
    return params | {"links": {"served": served}}


def repro(project, params) -> set[str]:
    """The stages whose commands ran."""
    write_params(project, params)
    lines = run("dvc", "repro", cwd=project).stdout.splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def entry(project, stage) -> dict:
    return YAML(typ="safe").load(project / "dvc.lock")["stages"][stage]


def test_an_edit_runs_what_depends_on_it_alone(tmp_path):
    params = params_of_detection()
    project = make_project(tmp_path / "project", params)
    assert {"detect@strange", "ood@noise", "ood_table@strange", "link@served", "export@net"} <= repro(project, params)
    facts = project / "outputs/export/net/facts.json"
    assert json.loads(facts.read_text())["detector"]["name"] == "msp"
    table = entry(project, "ood_table@strange")

    second = copy.deepcopy(params)
    second["ood"]["turned"] = {"detect": "strange", "view": "turned", "kind": "near", "split": "test"}
    assert repro(project, second) == {"code", "ood@turned", "ood_table@strange"}
    assert repro(project, params) <= {"code", "ood_table@strange"}
    assert entry(project, "ood_table@strange") == table, "a view that was removed leaves nothing behind"

    other = copy.deepcopy(params)
    other["detect"]["strange"]["serve"] = "energy"
    assert repro(project, other) == {"code", "detect@strange", "link@served", "export@net", "evaluate@net"}
    assert json.loads(facts.read_text())["detector"]["name"] == "energy"

    assert repro(project, params | {"detect": {}, "ood": {}, "links": {}}) == {"code", "wire@net", "export@net", "evaluate@net"}
    assert "detector" not in json.loads(facts.read_text())
    stages = run("dvc", "stage", "list", "--name-only", cwd=project).stdout.split()
    assert not [name for name in stages if name.startswith(("detect", "ood"))]
