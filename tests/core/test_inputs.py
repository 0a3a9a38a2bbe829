"""What a stage depends on, as DVC would say it, and without DVC."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.repo.index import Index
from dvc.utils.serialize import dumps_yaml
from workbench import environment

from components.core import settings
from components.core.inputs import declared, files
from components.core.inputs.declared import Declared, Unusual, parse_yaml
from components.core.inputs.record import contradicts, record_path, recorded_stage, serialise
from components.core.inputs.recording import InputsChanged, recorded_inputs, take_inputs
from components.core.settings import ROOT, Workspace
from components.stages.train.checkpoint import fingerprint

DVC_YAML = """
stages:
  train:
    foreach: ${runs}
    do:
      cmd: train
      deps: ["${item.path}", single]
      params: ["runs.${key}", "other.yaml": ["a.b"]]
      outs: ["outputs/inputs/train/${key}.json"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one training that depends on the folder ``data`` and the file ``single``."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(settings, "WORK", tmp_path / "work")
    folder = tmp_path / "project"
    (folder / "data" / "deep").mkdir(parents=True)
    Repo.init(str(folder), no_scm=True).close()
    (folder / ".dvcignore").write_text("# names\n__pycache__\n.work\n")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text('{"runs": {"a": {"path": "data", "steps": 1}}}')
    (folder / "other.yaml").write_text("a: {b: 1e-3, c: 2}")
    (folder / "single").write_text("one")
    (folder / "data" / "picture").write_text("two")
    (folder / "data" / "deep" / "ä.txt").write_text("three")
    return folder


def by_dvc(folder: Path, stage: str = "train@a") -> tuple[dict[str, str], dict[str, Any]]:
    """DVC's own hashes and parameters."""
    with Repo(str(folder)) as repo:
        loaded = repo.stage.load_one(path=str(folder / "dvc.yaml"), name=stage)
        loaded.save_deps()
        params = {dep.def_path: dep.hash_info.value for dep in loaded.deps if isinstance(dep, ParamsDependency)}
        return {dep.def_path: dep.hash_info.value for dep in loaded.deps if dep.def_path not in params}, params


def age(folder: Path) -> None:
    """Let no file be so young that its time says nothing."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 10, time.time() - 10))


@pytest.mark.parametrize("study", ["", "experiments/mnist"])
def test_the_declared_inputs_of_every_stage_are_dvcs(study: str) -> None:
    folder = ROOT / study
    params = parse_yaml((folder / "params.yaml").read_text(encoding="utf-8"))
    with Repo(str(ROOT)) as repo:
        for stage in Index.from_file(repo, str(folder / "dvc.yaml")).stages:
            keys = {dep.def_path: dep.params for dep in stage.deps if isinstance(dep, ParamsDependency)}
            deps = {dep.def_path: Path(dep.fs_path) for dep in stage.deps if not isinstance(dep, ParamsDependency)}
            assert declared.declared(folder, stage.name, params) == Declared(deps, keys)


@pytest.mark.parametrize("young", [True, False])
def test_hashes_and_parameters_are_dvcs(folder: Path, young: bool) -> None:
    (folder / "data" / "__pycache__").mkdir()
    (folder / "data" / "__pycache__" / "x.pyc").write_text("no")
    (folder / "data" / "link").symlink_to("picture")
    (folder / "data" / "way").symlink_to("deep")
    if not young:
        age(folder)
    inputs = take_inputs(folder, "train@a")
    assert inputs.listings is not None
    assert (inputs.deps, inputs.values) == by_dvc(folder)
    assert take_inputs(folder, "train@a").deps == inputs.deps  # with what DVC's state now knows


@pytest.mark.parametrize("where", ["elsewhere", "empty", "pattern", "nested ignore", "other dvc"])
def test_unusual_places_are_hashed_as_dvc_does(folder: Path, where: str) -> None:
    place = folder / "data"
    if where == "elsewhere":
        place = Path(shutil.copytree(folder / "data", folder.parent / "pictures"))
        (place / "__pycache__").mkdir()
        (place / "__pycache__" / "counts").write_text("here")
        content = {"runs": {"a": {"path": str(place), "steps": 1}}}
        (folder / "params.yaml").write_text(json.dumps(content))
    if where == "empty":
        shutil.rmtree(place)
        place.mkdir()
    if where == "pattern":
        (folder / ".dvcignore").write_text("*.txt\n!ä.txt\n")
    if where == "nested ignore":
        (folder / "params.yaml").write_text('{"runs": {"a": {"path": "data/deep", "steps": 1}}}')
        (place / ".dvcignore").write_text("x\n")
        (place / "deep" / "x").write_text("no")
    if where == "other dvc":
        (place / "deep" / ".dvc").mkdir()
    inputs = take_inputs(folder, "train@a")
    assert (inputs.deps, inputs.values) == by_dvc(folder)
    assert inputs.changed() == []
    (place / "new").write_text("new")
    assert len(inputs.changed()) == (0 if where == "nested ignore" else 1)


def test_a_form_that_only_dvc_reads(folder: Path) -> None:
    text = (folder / "dvc.yaml").read_text().replace("cmd: train", "cmd: train\n      wdir: .")
    (folder / "dvc.yaml").write_text(text)
    with pytest.raises(Unusual):
        declared.declared(folder, "train@a", parse_yaml((folder / "params.yaml").read_text()))
    inputs = take_inputs(folder, "train@a")
    assert (inputs.deps, inputs.values) == by_dvc(folder)
    (folder / "single").write_text("two")
    assert inputs.changed() == ["single"]


def test_files_that_dvc_knows_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(folder)
    deps, _ = by_dvc(folder)
    monkeypatch.setattr(files, "md5", lambda path: pytest.fail(f"{path} is read"))
    inputs = take_inputs(folder, "train@a")
    assert inputs.deps == deps
    assert inputs.changed() == []
    monkeypatch.undo()
    (folder / "single").write_text("two")
    assert take_inputs(folder, "train@a").deps != deps


def test_a_change_within_one_tick_of_the_clock_is_seen(folder: Path) -> None:
    now = time.time_ns()
    os.utime(folder / "single", ns=(now, now))
    inputs = take_inputs(folder, "train@a")
    with (folder / "single").open("r+") as file:  # same inode, same size
        file.write("two")
    os.utime(folder / "single", ns=(now, now))
    assert inputs.changed() == ["single"]


@pytest.mark.parametrize("change", ["write", "touch", "add", "remove", "replace", "remove all"])
def test_changes_of_data_are_seen(folder: Path, change: str) -> None:
    age(folder)
    inputs = take_inputs(folder, "train@a")
    picture = folder / "data" / "picture"
    if change in ("write", "touch"):
        picture.write_text("xxx" if change == "write" else "two")
    if change == "add":
        (folder / "data" / "deep" / "new").touch()
    if change == "remove":
        picture.unlink()
    if change == "replace":
        other = folder / "other"
        other.write_text("two")
        os.utime(other, ns=(picture.stat().st_mtime_ns,) * 2)
        other.replace(picture)
    if change == "remove all":
        shutil.rmtree(folder / "data")
    place = {"add": "data/deep/new", "remove all": "data"}.get(change, "data/picture")
    assert inputs.changed() == [place]


def test_changes_of_parameters_are_named_by_their_keys(folder: Path) -> None:
    inputs = take_inputs(folder, "train@a")
    (folder / "params.yaml").write_text('{"more": 1, "runs": {"a": {"steps": 2, "path": "data"}, "b": {}}}')
    (folder / "other.yaml").write_text("a: {b: 0.001, c: 3}")  # c is not the stage's
    assert inputs.changed() == ["params.yaml: runs.a.steps"]
    (folder / "params.yaml").write_text("{")
    (changed,) = inputs.changed()
    assert changed.startswith("params.yaml (params.yaml: while parsing")


def test_the_record_of_an_entry_survives_dvcs_yaml() -> None:
    """Strings that look like numbers, numbers of every size, Unicode, dates: what DVC writes is what it reads."""
    draw = random.Random(0)
    words = ["1e-3", "yes", "null", "~", "0x10", "1_000", "2020-01-01", "é", "a: b", "#", "", " ", "\n", "'", "😀", "NaN"]
    letters = [draw.choice(string.printable) for _ in range(100)]
    numbers = [draw.uniform(-1, 1) * 10 ** draw.randrange(-300, 300) for _ in range(100)]
    values = {"a": [*words, *letters, *numbers, 0, -1, 2**70, True, None, [], {}, {"x": {"y": [1.0, 1]}}]}
    text = f"runs: {json.dumps(values, ensure_ascii=False)}\nday: 2020-01-01\ntime: 2020-01-01T10:00:00Z\nsmall: 1e-3\n"
    params = {"params.yaml": parse_yaml(text)}
    record = serialise({"data": "x.dir"}, params)
    assert record == serialise({"data": "x.dir"}, {"params.yaml": json.loads(record)["params"]["params.yaml"]})
    entry = parse_yaml(dumps_yaml({"deps": [{"path": "data", "md5": "x.dir"}], "params": params}))
    assert serialise({"data": "x.dir"}, entry["params"]) == record


def test_which_stage_a_record_is_of() -> None:
    for stage in ("code", "train@digits"):
        out = {"path": record_path(stage), "md5": "0"}
        assert recorded_stage({"outs": [out]}) == stage
        assert contradicts(stage, {"outs": [out]})
    assert recorded_stage({"outs": [{"path": "outputs/x", "md5": "0"}]}) is None
    assert not contradicts("train@digits", {"outs": [{"path": "outputs/x", "md5": "0"}]})


def test_a_failed_stage_has_no_record(folder: Path) -> None:
    record = folder / record_path("train@a")
    with pytest.raises(KeyError), recorded_inputs(Workspace(folder), "train@a"):
        raise KeyError("x")
    with pytest.raises(SystemExit), recorded_inputs(Workspace(folder), "train@a"):
        sys.exit(3)
    assert not record.exists()
    with pytest.raises(SystemExit), recorded_inputs(Workspace(folder), "train@a"):
        sys.exit(0)
    assert json.loads(record.read_text())["params"]["params.yaml"] == {"runs.a": {"path": "data", "steps": 1}}
    assert "DARKROOM_INPUTS" not in os.environ


def test_a_stage_that_fails_over_its_changed_inputs_may_be_retried(folder: Path) -> None:
    with refused("data/picture"):  # noqa: SIM117
        with recorded_inputs(Workspace(folder), "train@a"):
            (folder / "data" / "picture").unlink()
            (folder / "data" / "picture").read_text()


@pytest.mark.parametrize("data", [True, False])
def test_checkpoints_of_changed_data_are_not_resumed(folder: Path, data: bool) -> None:
    """Parameters are the same to the end, whatever is written into params.yaml meanwhile."""
    workspace = Workspace(folder)
    checkpoint = workspace.checkpoints("a") / "key" / "000000001.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with refused(), recorded_inputs(workspace, "train@a"):
        if data:
            (folder / "single").write_text("two")
        else:
            (folder / "params.yaml").write_text('{"runs": {"a": {"path": "data", "steps": 2}}}')
    assert checkpoint.exists() == (not data)


def test_params_are_read_from_the_text_that_was_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """In this process, in its children, and only inside the block."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8") + "\n"
    (folder / "params.yaml").write_text(text + "runs2: {a: 1}\n")
    (folder / "dvc.yaml").write_text("stages: {one: {cmd: x, deps: [single], params: [seed]}}")
    (folder / "params.yaml").write_text(text)
    program = "import sys; from components.core.settings import Workspace; print(Workspace(sys.argv[1]).params.seed)"
    command = [sys.executable, "-c", program, str(folder)]
    with refused("params.yaml: seed"), recorded_inputs(Workspace(folder), "one"):
        (folder / "params.yaml").write_text(text.replace("\nseed: 0", "\nseed: 7"))
        assert Workspace(folder).params.seed == 0
        assert subprocess.run(command, capture_output=True, check=True, text=True, env=child()).stdout == "0\n"
    assert Workspace(folder).params.seed == 7
    assert subprocess.run(command, capture_output=True, check=True, text=True, env=child()).stdout == "7\n"


@contextmanager
def refused(changed: str = "") -> Iterator[None]:
    """The block's stage is not recorded, since these inputs changed."""
    with pytest.raises(InputsChanged, match=rf" is not recorded, its inputs changed while it ran: .*{re.escape(changed)}"):
        yield


def child() -> dict[str, str]:
    return environment(PYTHONPATH=str(ROOT))


def test_one_of_several_processes_has_the_launchers_inputs_and_records_nothing(folder: Path) -> None:
    with refused(), recorded_inputs(Workspace(folder), "train@a") as inputs:
        (folder / "params.yaml").write_text('{"runs": {"a": {"path": "data", "steps": 2}}}')
        with recorded_inputs(Workspace(folder), "train@a") as joined:
            assert (joined.deps, joined.values) == (inputs.deps, inputs.values)
        assert not (folder / record_path("train@a")).exists()


def test_the_fingerprint_of_checkpoints_is_of_the_inputs_and_the_machine(folder: Path) -> None:
    inputs = take_inputs(folder, "train@a").digest
    assert fingerprint(inputs, device="cpu") == fingerprint(take_inputs(folder, "train@a").digest, device="cpu")
    assert fingerprint(inputs, device="cuda") != fingerprint(inputs, device="cpu")
    (folder / "single").write_text("two")
    assert fingerprint(take_inputs(folder, "train@a").digest, device="cpu") != fingerprint(inputs, device="cpu")


def test_a_missing_input_is_named(folder: Path) -> None:
    (folder / "single").unlink()
    with pytest.raises(ValueError, match=r"single does not exist; train@a depends on it"):
        take_inputs(folder, "train@a")
