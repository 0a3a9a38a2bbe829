"""A workspace whose outs are made by hand: no torch, no DVC, one ONNX classifier of two operators."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.core import settings
from components.core.settings import ROOT, Workspace
from components.serving.preparation import Preparation
from components.stages.export.served_code import write_code

SIZE, CLASSES = 4, ["zero", "one", "two"]

PARAMS = """\
root: ../..
seed: 3
pipeline: {runs: [small]}
datasets: {digits: {source: digits, path: x}}
views: {digits: {dataset: digits}}
links: {}
detect: {}
ood: {}
runs:
  small:
    recipe: classification
    view: digits
    model: {name: resnet18, width: 8}
    train: {steps: 20, learning_rate: 1e-3, augment: {flip: [0.5, 1]}}
    export: {}
    evaluate: {split: test}
    promote: {}
"""

LOCK = """\
schema: '2.0'
stages:
  train@small:
    cmd: env PYTHONPATH=../.. python -m components.stages.train small
    outs:
    - path: outputs/train/small/weights.pt
      hash: md5
      md5: 0a
  export@small:
    cmd: env PYTHONPATH=../.. python -m components.stages.export small
    deps:
    - path: outputs/train/small/weights.pt
      hash: md5
      md5: {weights}
      size: 12
    params:
      params.yaml:
        runs.small.export: {{}}
    outs:
    - path: outputs/export/small
      hash: md5
      md5: 0c.dir
  export@small_too:
    cmd: another
"""


class Home:
    """The workspace with its outs, and handles to change them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.workspace = Workspace(folder)
        self.write("params.yaml", PARAMS)
        self.lock("0b")
        self.write("outputs/views/digits/view.json", json.dumps({"digest": "d" * 64}))
        self.write("outputs/views/digits/contact.png", "picture")
        self.write("outputs/train/small/curves.csv", "step,accuracy,loss\n10,,1.5\n20,0.75,0.33333333\n")
        self.evaluation(0.875)
        make_export(folder / "outputs" / "export" / "small")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def lock(self, weights: str) -> None:
        """dvc.lock after an export of these weights."""
        self.write("dvc.lock", LOCK.format(weights=weights))

    def evaluation(self, accuracy: float) -> None:
        """The evaluation's outs, with this accuracy."""
        folder = "outputs/evaluate/small"
        self.write(f"{folder}/metrics.json", json.dumps({"accuracy": accuracy, "calibration_error": 0.01}))
        self.write(f"{folder}/report/report.json", json.dumps({"directions": {"accuracy": "max", "calibration_error": "min"}}))
        self.write(f"{folder}/report/per_class.csv", "class,accuracy\nzero,1.0\n")
        self.write(f"{folder}/plots/confusion.png", "picture")

    def other_view(self, auroc: float) -> None:
        """The run has an out-of-distribution view and its table."""
        ood = "ood: {odd: {detect: strange, view: digits, kind: far, split: test}}"
        text = PARAMS.replace("detect: {}", "detect: {strange: {run: small, view: digits}}").replace("ood: {}", ood)
        self.write("params.yaml", text)
        self.workspace = Workspace(self.folder)
        folder = "outputs/ood_table/strange"
        self.write(f"{folder}/metrics.json", json.dumps({"vim": {"far_auroc": auroc}}))
        self.write(f"{folder}/report/ood.csv", f"detector,view,auroc\nvim,digits,{auroc}\n")


def make_export(folder: Path) -> None:
    """An export of a linear classifier on the flattened image, with the real served code."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir(parents=True)
    weights = np.random.default_rng(0).normal(size=(SIZE * SIZE, len(CLASSES))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["features"]),
            helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n]) for name, n in (("logits", 3), ("features", 16))],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    write_code("classification", folder)
    tensor = {"label": "int64", "probability": "float32", "class_name": "str"}
    signature = {
        "inputs": [{"name": "image", "dtype": "uint8", "shape": [-1, SIZE, SIZE, 1]}],
        "outputs": [{"name": name, "dtype": dtype, "shape": [-1]} for name, dtype in tensor.items()],
        "params": [],
    }
    prepared = Preparation((SIZE, SIZE), (SIZE, SIZE), 1).to_json()
    facts = {"image_size": SIZE, "channels": 1, "classes": CLASSES, "preparation": prepared}
    parity = {"model": {"max_abs_difference": 1e-6, "bound": 1e-4}}
    for name, content in {"signature": signature, "facts": facts, "parity": parity}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    np.savez(folder / "example.npz", image=np.full((2, SIZE, SIZE, 1), 7, np.uint8))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database: copying it takes milliseconds, making one takes seconds."""
    from components.registry.tracking import make_database, prepare_environment

    prepare_environment()
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    make_database(path)
    return path


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    folder = tmp_path / "work"
    monkeypatch.setattr(settings, "WORK", folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.fixture
def fresh_store(work: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Made a fresh state folder with a tracking database; call it for another. This process holds the old files open."""
    from components.registry.record.published import store

    def make() -> None:
        if work.exists():
            monkeypatch.setattr(settings, "WORK", work.with_name("rebuilt"))
        store().mkdir(parents=True)
        shutil.copyfile(template, store() / "mlflow.db")

    make()
    return make


@pytest.fixture
def home(tmp_path: Path, fresh_store: Callable[[], None]) -> Home:
    """A study with one run, everything made and nothing published."""
    return Home(tmp_path / "study")


@pytest.fixture
def bare_home(tmp_path: Path, work: Path) -> Home:
    """The same without a tracking database."""
    return Home(tmp_path / "study")


@pytest.fixture
def environment(work: Path) -> dict[str, str]:
    """For the processes that a test starts: its state folder, and the repository on the path."""
    return {**os.environ, "DARKROOM_WORK": str(work), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export folder."""
    make_export(tmp_path / "export")
    return tmp_path / "export"
