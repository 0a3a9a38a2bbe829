"""Starting weights: their record in settings.json, heads by the names of classes, prefixes, and two files for one recipe."""

import json
from dataclasses import replace

import pytest
import torch
from families.tiny import Tiny, copied, scattered
from models import fake_timm

from components.core.artifact import Artifact
from components.core.settings import ModelSettings, Workspace
from components.families.classification.recipe import Classification
from components.stages.start import initialise, tensors_md5
from components.stages.train.checkpoint import serialise
from components.stages.train.curves import Curves
from components.stages.train.stage import write_outs

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.set_num_threads(1)
    return Tiny("classification", tmp_path_factory.mktemp("classification"))


def link(path, content):
    path.write_bytes(serialise(content))
    return Artifact(path, "0123")


def of_run(recipe, names):
    return {"settings": {"view": {"classes": {"label": names}}}, "state": recipe.state_dict()}


def test_the_record_counts_what_was_taken_and_says_what_was_not(tiny, tmp_path):
    giver, recipe = scattered(tiny.build()), tiny.build(seed=1)
    state = {f"module.backbone.{name}": w for name, w in giver.classifier.network.state_dict().items()}
    state["module.backbone.patch_embed.proj.weight"] = torch.ones(16, 3, 4, 4)
    (start,) = initialise(recipe, {"init": link(tmp_path / "w.pth.tar", {"epoch": 1, "model_ema": state, "model": state})})
    network = recipe.classifier.network
    assert start.to_json() == {
        "role": "init",
        "file": "w.pth.tar",
        "md5": "0123",
        "taken": len(state) - 1,
        "read": ["model_ema: the averaged weights are taken, not model beside them", "backbone.: removed from all names"],
        "adapted": ["patch_embed.proj.weight: the file is for RGB, this view is grey: channels summed"],
        "fresh": [],
        "left_out": [],
        "kept": ["head: 3 classes, kept; the file does not name them"],
    }
    assert torch.equal(network.patch_embed.proj.weight, torch.full((16, 1, 4, 4), 3.0))
    assert torch.equal(network.head.weight, giver.classifier.network.head.weight)


def test_a_network_with_weights_of_its_own_starts_from_them_and_takes_no_link_beside_them(tiny, tmp_path, monkeypatch):
    fake_timm.install(monkeypatch)
    model = ModelSettings("timm", {"variant": "tiny_conv", "pretrained": True})
    recipe = Classification.build(replace(tiny.settings(), model=model), {"main": tiny.views["main"].facts}, {})
    network = recipe.classifier.network
    torch.manual_seed(5)
    giver = fake_timm.create_model("tiny_conv")
    torch.manual_seed(5)
    (start,) = initialise(recipe, {})
    assert torch.equal(network.backbone.stem.weight, giver.stem.weight.sum(1, keepdim=True))
    assert torch.equal(network.head.weight, giver.head.fc.weight)
    record = start.to_json()
    assert (record["role"], record["file"], record["md5"]) == ("init", "tiny_conv", tensors_md5(giver.state_dict()))
    assert record["adapted"] == ["backbone.stem.weight: the file is for RGB, this view is grey: channels summed"]
    with pytest.raises(ValueError, match=r"^model\.pretrained: true is not allowed with a link init"):
        initialise(recipe, {"init": link(tmp_path / "w.pt", giver.state_dict())})


@pytest.mark.parametrize(("names", "kept"), [(CLASSES, True), (("a", "c", "b"), False), (("a", "b"), None)])
def test_a_run_s_head_is_kept_if_its_classes_have_the_same_names(tiny, tmp_path, names, kept):
    giver, recipe = scattered(tiny.build()), tiny.build(seed=1)
    fresh = copied(recipe.state_dict())
    content = of_run(giver, names)
    if kept is None:
        content["state"] = {name: w[:2] if ".head." in name else w for name, w in content["state"].items()}
    (start,) = initialise(recipe, {"init": link(tmp_path / "weights.pt", content)})
    wanted = giver.state_dict() if kept else fresh
    assert torch.equal(recipe.state_dict()["classifier.network.head.weight"], wanted["classifier.network.head.weight"])
    assert [line.partition(":")[0] for line in start.to_json()["fresh"]] == ([] if kept else ["head"])


def test_the_record_is_in_settings_json_and_changes_no_byte_of_the_weights(tiny, tmp_path):
    recipe, workspace = tiny.build(), Workspace(tiny.folder)
    starts = initialise(recipe, {"init": link(tmp_path / "weights.pt", of_run(tiny.build(), CLASSES))})
    files = []
    for resolved in ({}, {"init": [start.to_json() for start in starts]}):
        write_outs(workspace, tiny.settings(), tiny.views["main"].facts, recipe=recipe, curves=Curves(), resolved=resolved)
        files.append((tiny.folder / "outputs/train/tiny/weights.pt").read_bytes())
    assert files[0] == files[1]
    (record,) = json.loads((tiny.folder / "outputs/train/tiny/settings.json").read_text())["train"]["init"]
    assert (record["role"], record["file"], record["taken"]) == (
        "init",
        "weights.pt",
        len(recipe.classifier.network.state_dict()),
    )


def test_a_tensor_of_nan_and_a_file_of_something_else_name_the_link(tiny, tmp_path):
    state = tiny.build().classifier.network.state_dict()
    broken = link(tmp_path / "w.pt", state | {"norm.bias": torch.full((16,), torch.nan)})
    with pytest.raises(ValueError, match=r"link init \(.*w\.pt\): .*tensor norm\.bias: 16 of its 16 numbers are NaN"):
        initialise(tiny.build(), {"init": broken})
    with pytest.raises(ValueError, match=r"link init \(.*\): .*a folder without weights\.pt"):
        initialise(tiny.build(), {"init": Artifact(tmp_path, "")})


@pytest.fixture(scope="module")
def stargan(tmp_path_factory):
    return Tiny("stargan", tmp_path_factory.mktemp("stargan"))


@pytest.mark.parametrize("form", ["nested", "flat", "wrapped", "two files", "second alone"])
def test_stargan_takes_both_networks_from_one_file_or_two(stargan, tmp_path, form):
    giver, recipe = scattered(stargan.build()), stargan.build(seed=1)
    fresh, parts = copied(recipe.state_dict()), {"G": giver.generator.state_dict(), "D": giver.discriminator.state_dict()}
    flat = {f"{name}.{key}": w for name, part in parts.items() for key, w in part.items()}
    contents = {
        "nested": {"init": parts},
        "flat": {"init": flat},
        "wrapped": {
            "init": {"state_dict": {name: {f"module.{k}": w for k, w in part.items()} for name, part in parts.items()}}
        },
        "two files": {"init": parts["G"], "init_discriminator": parts["D"]},
        "second alone": {"init_discriminator": parts["D"]},
    }[form]
    starts = initialise(recipe, {role: link(tmp_path / f"{role}.pt", content) for role, content in contents.items()})
    assert [line for start in starts for line in start.lines()] == []
    wanted = {
        name: fresh[name] if form == "second alone" and name.startswith("generator") else w
        for name, w in giver.state_dict().items()
    }
    assert all(torch.equal(w, wanted[name]) for name, w in recipe.state_dict().items())
