"""A pickle runs whatever its maker wishes. Planted wherever something is loaded, none of them runs."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.core.artifact import Artifact
from components.stages.train.checkpoint import Checkpoints


class Evil:
    """Makes the file ``path`` when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """The file that appears when a pickle has run; the fixture proves that the pickle works."""
    path = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Evil(path)))
    path.unlink()
    return path


def torch_file(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def npz_file(trap: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.array([Evil(trap)], dtype=object))
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_as_a_checkpoint_to_resume_from(tmp_path: Path, trap: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "000000005.pt").write_bytes(torch_file({"state": Evil(trap)}))
    assert Checkpoints(folder).latest() is None
    (folder / "000000004.pt").write_bytes(torch_file({"step": 4}))
    (folder / "000000006.pt").write_bytes(pickle.dumps(Evil(trap)))
    assert Checkpoints(folder).latest() == (4, {"step": 4})
    assert [line.levelname for line in caplog.records] == ["WARNING"] * 3
    assert not trap.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".npz", ".safetensors", ".pkl"])
def test_as_weights_to_start_from(tmp_path: Path, trap: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    for data in (pickle.dumps(Evil(trap)), torch_file({"state": Evil(trap)}), npz_file(trap)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=path.name):
            Artifact(path, "0").state_dict()
    assert not trap.exists()


def test_as_arrays_of_a_dataset_and_of_a_view(tmp_path: Path, trap: Path) -> None:
    from components.stages.augment.raw.layouts import read_dataset
    from components.stages.views.view import open_view

    np.save(tmp_path / "all.image.npy", np.array([Evil(trap)], dtype=object))
    np.save(tmp_path / "all.label.npy", np.array([Evil(trap)], dtype=object))
    np.save(tmp_path / "train.image.npy", np.array([Evil(trap)], dtype=object))
    entry = '{"all": {"image": "all.image.npy", "label": "all.label.npy"}}'
    (tmp_path / "dataset.json").write_text(f'{{"layout": "arrays", "splits": {entry}, "classes": {{"label": ["a"]}}}}')
    with pytest.raises(ValueError, match=r"all\.image\.npy"):
        read_dataset(tmp_path)
    facts = '"name": "v", "image_size": 8, "channels": 1, "classes": {"label": ["a", "b"]}, "mean": [0], "std": [1]'
    (tmp_path / "view.json").write_text(f'{{{facts}, "counts": {{"train": 1}}, "digest": "0"}}')
    (tmp_path / "policy.json").write_text("null")
    with pytest.raises(ValueError, match="Python objects"):
        next(iter(open_view(tmp_path).batches("train", 1)))
    assert not trap.exists()


def test_as_a_registered_model(tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose code is pickled, as MLflow itself would write it; also where the user has allowed such models."""
    from components.registry.tracking import prepare_environment

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    prepare_environment()
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Evil(trap)))
    flavor = "loader_module: mlflow.pyfunc.model\n    cloudpickle_version: 3.1.2\n    python_model: python_model.pkl"
    (folder / "MLmodel").write_text(f"flavors:\n  python_function:\n    {flavor}\n    python_version: 3.11.9\n")
    with pytest.raises(MlflowException, match="ickle"):
        mlflow.pyfunc.load_model(str(folder))
    assert not trap.exists()


def test_no_server_of_ours_opens_one_either(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.project import Project, for_children

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    assert for_children(Project())["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
