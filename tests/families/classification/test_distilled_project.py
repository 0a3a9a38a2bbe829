"""A student and its teacher through every stage of the graph, each in a process of its own; and a student in two processes."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from workbench import ROOT, add_own, environment, make_project, run, toy_params

from components.stages.code.closure import CATALOGUES, file_of

pytestmark = pytest.mark.slow
IMPORTED = """
import json, sys
from components.core.settings import Workspace
from components.stages.train import stage
stage.run(Workspace(), "student")
print(json.dumps([name for name in sys.modules if name.partition(".")[0] == "components"]))
"""
LATER = """
from components.core.settings import Workspace
from components.stages.{stage} import stage
stage.run(Workspace(), "student")
"""


def test_a_student_is_taught_exported_and_measured_without_its_teacher(tmp_path):
    params = add_own(toy_params())
    own = params["runs"]["own"]
    distill = {"on": ["labelled", "unlabelled"], "labels": "ignore", "unlabelled_batch_size": 4}
    model = {"name": "vit", "patch": 8, "width": 16, "depth": 1, "heads": 2}
    student = own | {"model": model, "train": own["train"] | {"distill": distill, "learning_rate": 0.01}}
    student["evaluate"] = {"tpr_at_fpr": {"positive": "light", "fpr": 0.1}}
    params["runs"]["student"] = student
    params["views"]["more"] = params["views"]["mine"] | {"quality": False}
    link = {"run": "student", "stage": "train"}
    params["links"] = {
        "taught": link | {"role": "teacher", "from": "outputs/train/own"},
        "free": link | {"role": "unlabelled", "from": "outputs/views/more"},
    }
    folder = make_project(tmp_path / "project", params)
    for name, level in (("light", 200), ("dark", 40)):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(24):
            Image.new("RGB", (20, 20), (level + index,) * 3).save(folder / "pictures" / name / f"{index}.png")
    run("dvc", "repro", "--quiet", "train@student", cwd=folder)
    digests = json.loads((folder / "outputs/code/train/student.json").read_text())
    done = run(sys.executable, "-c", IMPORTED, cwd=folder)
    files = {file for name in json.loads(done.stdout.splitlines()[-1]) if (file := file_of(name, folder / "components"))}
    assert not {f"components/{file}" for file in files - CATALOGUES} - set(digests)
    assert "components/networks/resnets/resnet18.py" in digests
    state = torch.load(folder / "outputs/train/student/weights.pt", weights_only=True)
    assert {name.split(".")[0] for name in state["state"]} == {"classifier"}
    assert state["settings"]["train"]["distill"]["on"] == ("labelled", "unlabelled")
    plain = torch.load(folder / "outputs/train/own/weights.pt", weights_only=True)
    assert "distill" not in plain["settings"]["train"]  # its file is the one that it was before there were students
    for path in (folder / "outputs/train/own/weights.pt", folder / "outputs/views/more/view.json"):
        path.rename(path.with_suffix(".aside"))  # what a later stage would miss
    for stage in ("export", "evaluate"):
        run(sys.executable, "-c", LATER.format(stage=stage), cwd=folder)  # the command would look for its entry in dvc.lock
    metrics = json.loads((folder / "outputs/evaluate/student/metrics.json").read_text())
    assert {"accuracy", "tpr_at_fpr", "tpr_at_fpr_realised_fpr"} <= set(metrics)
    assert (folder / "outputs/evaluate/student/report/tpr_at_fpr.csv").is_file()


def test_two_processes_teach_the_student_that_one_does(tmp_path):
    command = [sys.executable, str(ROOT / "tests/families/classification/students.py"), str(tmp_path)]
    path = f"{ROOT}:{ROOT / 'tests'}"
    done = subprocess.run(command, cwd=ROOT, env=environment(PYTHONPATH=path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    alone, *both = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", "0", "1"))
    for found in both:
        for name, tensor in alone.items():
            assert (found[name] - tensor).abs().max() < 1e-9, name
