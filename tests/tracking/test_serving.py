"""The registered model, loaded and served by MLflow alone, answers as the export does."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.families.classification.served import Served
from components.registry import model_registry as registry
from components.registry.record.published import tracking_uri
from components.registry.tracking import connect, publish

IMAGE = np.random.default_rng(5).integers(0, 256, (3, 4, 4, 1), dtype=np.uint8)


@pytest.fixture
def loaded(home):
    publish(home.workspace, "small")
    return registry.load(connect(), "study.small", 1)


def test_the_loaded_model_is_the_export(home, loaded):
    found, expected = loaded.predict({"image": IMAGE}), Served(home.folder / "outputs/export/small").predict({"image": IMAGE})
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_signature_and_the_requirements_are_declared(loaded):
    (image,) = loaded.metadata.signature.inputs.inputs
    assert (image.name, image.type, image.shape) == ("image", np.dtype("uint8"), (-1, 4, 4, 1))
    assert [entry.name for entry in loaded.metadata.signature.outputs.inputs] == ["label", "probability", "class_name"]
    names = [line.split("==")[0] for line in registry.requirements(Path("nowhere"))]
    assert names == ["mlflow", "numpy", "pillow", "onnxruntime"]


def test_torch_is_required_where_weights_are_shipped(tmp_path: Path):
    (tmp_path / "weights.safetensors").touch()
    pins = dict(line.split("==") for line in registry.requirements(tmp_path))
    assert set(pins) == {"mlflow", "numpy", "pillow", "onnxruntime", "torch", "safetensors"}
    assert "+" not in pins["torch"]


def test_parameters_come_with_their_defaults(tmp_path: Path):
    params = [{"name": "guidance", "dtype": "float32", "default": 3.0}, {"name": "steps", "dtype": "int64", "default": 20}]
    tensor = {"name": "z", "dtype": "float32", "shape": [-1, 8]}
    signature = {"inputs": [tensor], "outputs": [tensor], "params": params}
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    found = registry.read_signature(tmp_path / "signature.json")
    assert {p.name: (p.dtype.name, p.default) for p in found.params.params} == {
        "guidance": ("float", 3.0),
        "steps": ("long", 20),
    }


def test_the_shipped_code_can_be_found(home, loaded):
    folder = registry.export_folder(connect(), "study.small", 1)
    np.testing.assert_array_equal(
        Served(folder).scores(IMAGE)["logits"], Served(home.folder / "outputs/export/small").scores(IMAGE)["logits"]
    )


@pytest.fixture
def ask(home, environment, tmp_path: Path) -> Iterator[Callable[[Any], tuple[int, str]]]:
    """A served model: give it a request, get the status and the text of its answer."""
    publish(home.workspace, "small")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Nothing of the repository: another folder, no path to it.
    alone = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    alone |= {"MLFLOW_TRACKING_URI": tracking_uri(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/study.small@candidate"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=alone, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while _status(port) != 200:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield lambda request: _post(port, request)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return answer.status
    except OSError:
        return 0


def _post(port: int, request: Any) -> tuple[int, str]:
    address = f"http://127.0.0.1:{port}/invocations"
    body = urllib.request.Request(address, json.dumps(request).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(body, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(file, "PNG")
    return file.getvalue()


def changed(value: Any) -> list:
    image = IMAGE.tolist()
    image[1][2][3][0] = value
    return image


def test_over_http_it_answers_as_the_export_and_refuses_what_is_not_pixels(home, ask):
    status, text = ask({"inputs": {"image": IMAGE.tolist()}})
    expected = Served(home.folder / "outputs/export/small").predict({"image": IMAGE})
    found = json.loads(text)["predictions"]
    assert (status, found["label"], found["class_name"]) == (200, expected["label"].tolist(), expected["class_name"].tolist())
    np.testing.assert_array_equal(np.float32(found["probability"]), expected["probability"])
    for value, words in ((300, "300"), (-1, "-1"), (0.5, "fractions"), (255.5, "255"), ("7", "numbers (uint8) are expected")):
        for request in ({"inputs": {"image": changed(value)}}, {"instances": [{"image": one} for one in changed(value)]}):
            status, text = ask(request)
            assert (status, words in text, "'image'" in text) == (400, True, True), (value, text)
    flat = np.array(changed(0.5)).reshape(3, 16).tolist()
    status, text = ask({"dataframe_split": {"columns": ["image"], "data": [[row] for row in flat]}})
    assert (status, "fractions" in text) == (400, True), text
    for image in (np.zeros((1, 5, 4, 1)), np.zeros((4, 4, 1)), np.zeros((1, 4, 4, 3))):
        status, text = ask({"inputs": {"image": image.astype(int).tolist()}})
        assert (status, str(image.shape) in text, "(-1, 4, 4, 1)" in text) == (400, True, True), text
    status, text = ask({"inputs": {"image": [[1, 2], [3]]}})
    assert (status, "differ in length" in text) == (400, True), text
    # The same pictures, encoded; 9 x 9 pixels are cropped and resized as for a training.
    texts = [base64.b64encode(png(image)).decode() for image in IMAGE]
    named = [f"data:image/png;base64,{text}" for text in texts]
    for request in ({"inputs": {"image": texts}}, {"instances": [{"image": text} for text in named]}):
        status, text = ask(request)
        assert (status, json.loads(text).get("predictions")) == (200, found), text
    large = np.random.default_rng(6).integers(0, 256, (9, 7, 1), dtype=np.uint8)
    status, text = ask({"inputs": {"image": [base64.b64encode(png(large)).decode()]}})
    served = Served(home.folder / "outputs/export/small")
    expected = served.predict({"image": served.decode(png(large))[None]})
    assert json.loads(text)["predictions"]["probability"] == expected["probability"].tolist()
    for image, words in (([texts[0], "bm8gcGljdHVyZQ=="], "picture 1: cannot identify"), (["7"], "picture 0: ")):
        status, text = ask({"inputs": {"image": image}})
        assert (status, words in text, "'image'" in text) == (400, True, True), text
    status, text = ask({"inputs": {"picture": IMAGE.tolist()}})
    assert (status, "image" in text) == (400, True), text
