"""Which edits make which stages stale, and that nothing which a stage really imports is missing from its digest."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from workbench import add_own, environment, make_project, run, toy_params

from components.core.settings import ROOT, Workspace
from components.stages.code.closure import CATALOGUES, COMPONENTS, closure, file_of
from components.stages.code.stage import MODULES, contents, digests_of


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code") / "components"
    return shutil.copytree(COMPONENTS, folder, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def copy(copied):
    """A copy of the code that a test may edit. Afterwards it is as it was: of other files no digest is taken again."""
    yield copied
    for path in copied.rglob("*.py"):
        own = COMPONENTS / path.relative_to(copied)
        if not own.exists():
            path.unlink()
        elif path.stat().st_mtime_ns != own.stat().st_mtime_ns:
            shutil.copy2(own, path)


@pytest.fixture(scope="module")
def workspace():
    return Workspace(ROOT)


def stale(workspace, copy):
    """The stages whose digest differs in the edited copy."""
    before, after = contents(workspace), contents(workspace, copy)
    return {name.removesuffix(".json").replace("/", "@") for name in before if before[name] != after[name]}


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_comments_docstrings_and_layout_of_every_file_make_nothing_stale(workspace, copy):
    for path in copy.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "served" not in path.name and "serving" not in path.parts:  # what travels with an export counts by its bytes
            path.write_text("# A comment.\n" + text.replace('"""\n', '"""  # another\n\n'), encoding="utf-8")
    edited = stale(workspace, copy)
    assert {name for name in edited if not name.startswith("export@")} == set()


def test_an_edited_evaluation_retrains_and_exports_nothing(workspace, copy):
    for family in ("classification", "diffusion", "munit"):
        path = copy / "families" / family / "evaluation.py"
        if path.is_file():
            path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = 1\n", encoding="utf-8")
    edited = stale(workspace, copy)
    assert {name.partition("@")[0] for name in edited} == {"evaluate"}


def test_an_edited_network_makes_only_its_runs_stale(workspace, copy):
    (copy / "networks" / "vit.py").open("a").write("\nEDITED = 1\n")
    runs = {name for name, block in workspace.params.runs.items() if block.model["name"] == "vit"}
    edited = stale(workspace, copy)
    assert {name.partition("@")[2] for name in edited} == runs
    assert {name.partition("@")[0] for name in edited} == {"train", "export"}


def test_an_edited_network_with_detectors_is_fitted_and_scored_again(workspace, copy):
    (copy / "networks" / "pp_lcnet.py").open("a").write("\nEDITED = 1\n")
    views = {f"ood@{name}" for name, entry in workspace.params.ood.items() if entry.detect == "lcnet_glyphs"}
    assert stale(workspace, copy) == views | {f"{stage}@lcnet_glyphs" for stage in ("train", "export", "detect")}


def test_an_edited_detector_counts_for_the_exports_that_hold_it(workspace, copy):
    served = workspace.params.detect["lcnet_glyphs"]["serve"]
    for name in ("knn", served):
        (copy / "detectors" / f"{name}.py").open("a").write("\nEDITED = 1\n")
        exports = {stage for stage in stale(workspace, copy) if stage.startswith("export@")}
        assert exports == ({"export@lcnet_glyphs"} if name == served else set())


def test_wire_reads_the_links_of_its_own_run_alone(workspace, copy):
    texts = contents(workspace)
    assert json.loads(texts["links/lcnet_glyphs.json"]) == {"train": [], "export": ["detector"], "evaluate": ["fonts"]}
    assert json.loads(texts["links/vit_digits.json"]) == {"train": [], "export": [], "evaluate": []}


def test_an_edited_source_makes_only_its_datasets_stale(workspace, copy):
    (copy / "stages" / "fetch" / "digits.py").open("a").write("\nEDITED = 1\n")
    datasets = {name for name, block in workspace.params.datasets.items() if block["source"] == "digits"}
    assert stale(workspace, copy) == {f"fetch@{name}" for name in datasets}


def test_a_new_entry_of_a_catalogue_makes_nothing_stale(workspace, copy):
    for file, line in {
        "families/__init__.py": '"classification":',
        "networks/__init__.py": '"vit":',
        "stages/fetch/__init__.py": '"digits":',
    }.items():
        edit(copy / file, line, f'"mine": "components.mine:Mine",\n    {line}')
    assert stale(workspace, copy) == set()


def test_the_entry_is_in_no_digest(workspace):
    files = {file for text in contents(workspace).values() for file in json.loads(text)}
    assert not {"components/__main__.py", "components/command.py"} & files
    assert not [file for file in files if "/registry/" in file]


def test_the_closure_follows_relative_lazy_and_absolute_imports_but_not_those_for_type_checkers(tmp_path):
    for name, text in {
        "a/one.py": "from . import two\ndef f():\n    from components.b.three import X\n",
        "a/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from components.b import unseen\n",
        "a/__init__.py": "",
        "b/__init__.py": "import components.b.four\n",
        "b/three.py": "X = 1\n",
        "b/four.py": "if __name__ == '__main__':\n    import components.b.unseen\n",
        "b/unseen.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = closure(["a/one.py"], tmp_path)
    assert found == ["a/__init__.py", "a/one.py", "a/two.py", "b/__init__.py", "b/four.py", "b/three.py"]


# Runs every stage in a fork of its own, in which none of our modules is imported yet: other packages are imported once.
IMPORTED = """
import importlib, json, os, sys
from forks import import_packages
import_packages()
for stage, module, name in json.loads(sys.argv[1]):
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 0, f"{stage}: {code}"
        continue
    from components.core.settings import Workspace
    importlib.import_module(module).run(Workspace(), name)
    with open(f"{stage}.imported", "w") as file:
        json.dump([name for name in sys.modules if name.partition(".")[0] == "components"], file)
    sys.stderr.flush()
    os._exit(0)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A toy, and a classifier with a detector and another view, ready for every stage."""
    from PIL import Image

    params = add_own(toy_params(steps=2))
    params["detect"] = {"strange": {"run": "own", "view": "mine", "serve": "msp"}}
    served = {"run": "own", "stage": "export", "role": "detector", "from": "outputs/detect/strange/served"}
    params["links"]["own_detector"] = served
    params["views"]["other"] = params["views"]["mine"] | {"image_size": 16}
    params["ood"] = {"own_other": {"detect": "strange", "view": "other", "kind": "far", "split": "test"}}
    folder = make_project(tmp_path_factory.mktemp("closure") / "project", params)
    for name, level in (("light", 200), ("dark", 40)):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(12):
            Image.new("RGB", (20, 20), (level + index,) * 3).save(folder / "pictures" / name / f"{index}.png")
    run("git", "add", "--all", cwd=folder)
    run(sys.executable, "-m", "components", "code", cwd=folder)
    return folder


@pytest.mark.slow  # the rules by which imports are found are tested above; this runs every stage
def test_every_module_that_a_stage_imports_is_in_its_digest(project):
    """Run for real, one after the other, each in a process of its own."""
    stages = ["fetch@digits", "fetch@mine", "augment@plain", "augment@turned", "augment@mine", "augment@other", "wire@toy"]
    stages += ["wire@own", "link@toy_other", "train@toy", "train@own", "detect@strange", "ood@own_other", "ood_table@strange"]
    stages += ["link@own_detector", "export@toy", "export@own", "evaluate@toy", "evaluate@own"]
    assert {stage.partition("@")[0] for stage in stages} == set(MODULES)
    components = project / "components"
    started = [(stage, MODULES[stage.partition("@")[0]], stage.partition("@")[2]) for stage in stages]
    command = [sys.executable, "-c", IMPORTED, json.dumps(started)]
    env = environment(PYTHONPATH=f"{project}{os.pathsep}{ROOT / 'tests'}")
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for stage, _, name in started:
        modules = json.loads((project / f"{stage}.imported").read_text())
        imported = {file for module in modules if (file := file_of(module, components))} - CATALOGUES
        recorded = json.loads((project / "outputs" / "code" / stage.partition("@")[0] / f"{name}.json").read_text())
        missing = {f"components/{file}" for file in imported} - set(recorded)
        assert not missing, f"{stage} imports what its digest does not cover"


def test_what_is_shipped_counts_by_its_bytes(workspace, copy):
    edit(copy / "serving" / "pixels.py", '"""', '"""Edited. ')
    assert {name.partition("@")[0] for name in stale(workspace, copy)} == {"export"}
    assert "shipped: components/serving/pixels.py" in digests_of(workspace, "export", next(iter(workspace.params.runs)))
