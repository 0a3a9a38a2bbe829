"""The container context: complete, pinned, and its server answers as the model does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from predict.conftest import CLASSES, SIZE, Colours
from starlette.testclient import TestClient
from tracking.conftest import make_export
from workbench import ROOT, environment

from components.registry.container.check import ContextFault, running
from components.registry.container.context import MODULE, write_context
from components.registry.container.pins import locked_versions, needed, pins
from components.registry.container.server import MAX_BODY, application
from components.registry.predict.model import Model
from components.registry.scoring.requests import limited_body
from components.serving.decoding import Preparation, decode_picture
from components.serving.float_graph import FLOAT
from components.serving.loading import load_served

SIGNATURE = {"inputs": [{"name": "image", "shape": [-1, SIZE, SIZE, 3]}], "outputs": [], "params": []}
PREPARATION = Preparation((SIZE, SIZE), (SIZE, SIZE), 3)


class Decoding(Colours):
    """A classifier that decodes pictures."""

    def __init__(self) -> None:
        super().__init__(detector=True)
        self.facts["preparation"] = PREPARATION.to_json()

    def decode(self, data: bytes) -> np.ndarray:
        return decode_picture(data, PREPARATION)


@pytest.fixture
def client() -> TestClient:
    return TestClient(application(Decoding(), SIGNATURE, {"name": "small", "version": "version 3, the champion"}))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    make_export(tmp_path / "export")
    return Model("study.Small", "version 3", tmp_path / "export", load_served(tmp_path / "export"), None)


def test_pictures_and_arrays_are_answered(client: TestClient, photos: Path) -> None:
    assert client.get("/ping").status_code == 200
    assert client.get("/version").json() == {"name": "small", "version": "version 3, the champion"}
    data = (photos / "4.jpg").read_bytes()
    (row,) = client.post("/predict", files={"image": ("4.jpg", data)}).json()["predictions"]
    pixels = Decoding().decode(data)[None]
    expected = Decoding().predict({"image": pixels})
    assert (row["file"], row["class_name"]) == ("4.jpg", "grey")
    assert row["probability"] == float(expected["probability"][0])
    answer = client.post("/invocations", json={"inputs": {"image": pixels.tolist()}}).json()
    assert answer["predictions"] == {name: array.tolist() for name, array in expected.items()}
    assert set(CLASSES) > set(answer["predictions"]["class_name"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "the body is not JSON"),
        (b"[]", "is expected"),
        (b'{"inputs": {}, "param": 1}', "unknown key 'param'"),
        (b'{"inputs": {"image": [[1], [1, 2]]}}', "the rows differ in length"),
    ],
)
def test_what_is_no_request_is_answered_with_400(client: TestClient, body: bytes, words: str) -> None:
    answer = client.post("/invocations", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_a_body_without_end_is_refused() -> None:
    class Endless:
        async def stream(self):
            while True:
                yield bytes(MAX_BODY // 4)

    import asyncio

    with pytest.raises(ValueError, match="the body has more than"):
        asyncio.run(limited_body(Endless(), MAX_BODY))


def test_requirements_are_what_the_server_imports_by_the_lock(model: Model, tmp_path: Path) -> None:
    lines = pins(model.folder, ROOT / "requirements.lock")
    names = {line.partition("==")[0] for line in lines}
    assert {"numpy", "pillow", "onnxruntime", "starlette", "uvicorn", "python-multipart", "anyio", "h11"} <= names
    assert not names & {"mlflow", "torch", "pandas", "fastapi", "dvc", "prefect"}
    locked = locked_versions(ROOT / "requirements.lock")
    assert all(locked[line.partition("==")[0]] == line.partition("==")[2] for line in lines)
    assert "safetensors" not in needed(["numpy"])
    (model.folder / "weights.safetensors").touch()
    assert {"torch", "safetensors"} <= {line.partition("==")[0] for line in pins(model.folder, ROOT / "requirements.lock")}
    (tmp_path / "short.lock").write_text("numpy==1.0\n")
    with pytest.raises(ValueError, match="does not pin starlette"):
        pins(model.folder, tmp_path / "short.lock")


def test_the_context_is_complete(model: Model, tmp_path: Path) -> None:
    """Its server starts with nothing of the repository in reach, and imports no file that is not in the context."""
    folder = tmp_path / "context"
    folder.mkdir()
    (model.folder / FLOAT).touch()
    write_context(model, folder)
    assert not (folder / "model" / FLOAT).exists()
    dockerfile = (folder / "Dockerfile").read_text()
    assert f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim" in dockerfile
    assert "--tag study.small ." in dockerfile
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; import {MODULE};"
        "files = {str(getattr(module, '__file__', '')) for module in sys.modules.values()};"
        f"print([file for file in files if file.startswith({str(ROOT / 'components')!r})]);"
        "print({'mlflow', 'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(PYTHONPATH=""), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "set()"]


def test_a_golden_picture_that_differs_stops_the_server(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    write_context(model, folder)
    entry = {"file": "0.jpg", "name": "rose/7.jpg", "pixels": "", "inputs": {}, "outputs": {}, "margin": None}
    (folder / "model" / "golden.json").write_text(json.dumps({"decoder": {}, "pictures": [entry]}))
    with (
        pytest.raises(ContextFault, match=r"the server ended: .*golden picture rose/7\.jpg"),
        running(folder, Path(sys.executable)),
    ):
        pass
