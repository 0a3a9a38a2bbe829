"""Links: weights of every published container, and pointers that do not depend on the past."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from workbench import ROOT, run, toy_params, write_params

from components.core.artifact import Artifact, content_md5

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}


@pytest.mark.parametrize("container", [None, "state_dict", "model", "state"])
def test_a_torch_file_opens_in_any_usual_container(tmp_path, container):
    torch.save({container: WEIGHTS, "epoch": 3} if container else WEIGHTS, tmp_path / "w.pth")
    torch.testing.assert_close(Artifact(tmp_path / "w.pth", "").state_dict(), WEIGHTS)


def test_safetensors_and_npz_open_too(tmp_path):
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **{name: tensor.numpy() for name, tensor in WEIGHTS.items()})
    for name in ("w.safetensors", "w.npz"):
        torch.testing.assert_close(Artifact(tmp_path / name, "").state_dict(), WEIGHTS)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("name", ["w.pt", "w.npz", "w.safetensors", "w.pdparams"])
def test_a_pickle_is_never_run_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"w\."):
        Artifact(tmp_path / name, "").state_dict()
    assert not (tmp_path / "trapped").exists()


def test_content_of_a_folder_is_names_and_bytes(tmp_path):
    for folder, name in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("same")
    assert content_md5(tmp_path / "a") == content_md5(tmp_path / "b") != content_md5(tmp_path / "c")


def known_params():
    """The toy's, with a recipe and a network of the catalogues: nothing is trained here."""
    params = toy_params()
    params["runs"]["toy"] |= {"recipe": "classification", "model": {"name": "vit"}}
    return params


def wire(stage):
    run("python", "-m", "components", "code", **stage)
    run("python", "-m", "components", "wire", "toy", **stage)


def test_pointers_follow_params_and_leave_with_them(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"weights")
    params = known_params()
    params["links"] = {"first": {"run": "toy", "stage": "train", "role": "init", "from": "weights.pt"}}
    write_params(tmp_path, params)
    stage = {"cwd": tmp_path, "PYTHONPATH": str(ROOT)}
    wire(stage)
    run("python", "-m", "components", "link", "first", **stage)
    folder = tmp_path / "outputs/links/toy/train"
    assert sorted(path.name for path in folder.iterdir()) == ["init", "run"]
    found = Artifact.follow(folder / "init", tmp_path)
    assert found.path.read_bytes() == b"weights"
    assert found.md5 == content_md5(tmp_path / "weights.pt")

    (tmp_path / "weights.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"dvc pull weights\.pt"):
        Artifact.follow(folder / "init", tmp_path)
    failed = run("python", "-m", "components", "link", "first", check=False, **stage)
    assert failed.returncode == 2
    assert "links.first.from: weights.pt does not exist" in failed.stderr

    write_params(tmp_path, params | {"links": {}})
    wire(stage)
    assert [path.name for path in folder.iterdir()] == ["run"]
