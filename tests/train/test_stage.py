"""The stage in this process: what it trains, what it records of it, and under which key its checkpoints are."""

import json
from contextlib import contextmanager

import pytest
import torch
from families.tiny import Tiny

from components.core import settings as core_settings
from components.core.settings import Workspace
from components.stages.train import stage
from components.stages.train.checkpoint import fingerprint
from components.stages.train.processes import digest


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The run of a classifier, whose checkpoints are in ``work`` beside it."""
    torch.set_num_threads(1)
    monkeypatch.setenv("DARKROOM_DEVICE", "cpu")
    monkeypatch.setattr(core_settings, "WORK", tmp_path / "work")
    tiny = Tiny("classification", tmp_path / "study")
    assert tiny.views, "they are written"
    return tiny


def trained(tiny, inputs="", **train):
    """What the stage leaves, what its observer was told, and the points that it logged."""
    told, points = [], {}

    @contextmanager
    def observe(workspace, run, key, killed):
        told.append((workspace.folder, run, key, killed))
        yield lambda step, point: points.update({step: point})

    tiny.settings(**train)
    stage.run(Workspace(tiny.folder), "tiny", observe, inputs)
    out = tiny.folder / "outputs/train/tiny"
    content = torch.load(out / "weights.pt", weights_only=True)
    recorded = json.loads((out / "settings.json").read_text())
    return content, recorded, (out / "curves.csv").read_bytes(), told, points


def test_the_stage_writes_what_the_loop_trains_and_keeps_its_checkpoints_by_its_inputs(tiny, tmp_path, monkeypatch, capsys):
    recipe, curves = tiny.train(log_every=1)
    threads = []
    monkeypatch.setattr(stage, "set_threads", threads.append)
    content, recorded, csv, told, points = trained(tiny, inputs="abc", log_every=1)
    said = capsys.readouterr()
    assert (said.out, threads) == ("", [1])
    assert "tiny: 4 steps on cpu, fp32\n" in said.err
    assert digest(content["state"]) == digest(recipe.state_dict())
    assert csv == curves
    assert list(points) == [1, 2, 3, 4]
    key = fingerprint("abc", device="cpu", precision="fp32", processes=1)
    assert told == [(tiny.folder, "tiny", key, (stage.Stopped,))]
    assert [path.name for path in tmp_path.glob(f"work/checkpoints/train@study.tiny/{key}/*")] == ["000000002.pt"]
    assert recorded["train"].items() >= {"device": "cpu", "precision": "fp32", "steps": 4, "log_every": 1}.items()
    assert set(recorded["train"]) - set(content["settings"]["train"]) == {
        *("workers", "checkpoint_every", "log_every"),
        *("validate_every", "select", "select_metric", "patience", "batch_norm"),
    }
    assert recorded["recipe"] == "classification"
    assert recorded["model"].items() >= tiny.entry["model"].items()
    assert recorded["view"]["digest"] == tiny.views["main"].facts.digest


def test_without_inputs_nothing_is_kept_and_the_run_s_precision_is_recorded_and_used(tiny, tmp_path):
    content, recorded, *_ = trained(tiny, precision="bf16")
    assert not (tmp_path / "work").exists()
    assert recorded["train"]["precision"] == content["settings"]["train"]["precision"] == "bf16"
    assert digest(content["state"]) != digest(tiny.train()[0].state_dict())


def test_a_run_that_cannot_be_measured_is_not_trained(tiny, monkeypatch):
    monkeypatch.setattr(stage, "train", lambda *_, **__: pytest.fail("it was trained"))
    tiny.settings(batch_norm="reestimated")
    with pytest.raises(ValueError, match=r"runs\.tiny\.train\.batch_norm: reestimated is not allowed"):
        stage.run(Workspace(tiny.folder), "tiny")
    tiny.settings()
    file = tiny.views["main"].folder / "view.json"
    facts = json.loads(file.read_text())
    del facts["counts"]["test"]
    file.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"runs\.tiny\.evaluate\.split: 'test' is not in view 'plain'; it has: train, valid"):
        stage.run(Workspace(tiny.folder), "tiny")


def test_one_process_of_a_machine_holds_all_its_devices_unless_a_launcher_does(monkeypatch):
    monkeypatch.delenv(stage.LAUNCHER, raising=False)
    monkeypatch.setattr(stage, "pick_device", lambda rank: rank)
    first, second = (stage.Place(rank=rank, world=4, local_rank=rank, local_world=2) for rank in (0, 1))
    assert stage.devices_to_hold(None, 3) == [0, 1, 2], "the launcher"
    assert stage.devices_to_hold(first, 4) == [0, 1]
    assert stage.devices_to_hold(second, 4) == []
    monkeypatch.setenv(stage.LAUNCHER, "1")
    assert stage.devices_to_hold(first, 4) == []
