"""A picture over HTTP has the pixels of an evaluation, to the bit; what is no picture is refused by name."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tracking.conftest import environment, fresh_store, home, template, work

from components.core.config.strict import parse
from components.core.files import write_json
from components.registry.scoring.__main__ import application
from components.registry.scoring.pictures import Predict
from components.registry.tracking import publish
from components.serving import golden
from components.serving.decoding import decode_for
from components.serving.loading import load_served
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.fetch.folder import Folder
from components.stages.views.view import open_view

__all__ = ["environment", "fresh_store", "home", "template", "work"]
SIGNATURE = {"inputs": [{"name": "image", "dtype": "uint8", "shape": [-1, 16, 24, 3]}], "params": []}


def noise(seed: int, height: int, width: int, channels: int = 3) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, channels), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height))


def write_photographs(folder: Path) -> None:
    """Two classes of pictures as people have them: sizes, EXIF orientation, alpha, palettes, grey, CMYK."""
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number, orientation in enumerate((1, 3, 6, 8)):
            exif = Image.Exif()
            exif[0x0112] = orientation
            noise(number + len(name) * ord(name[0]), 60 + 20 * number, 100).save(folder / name / f"{number}.jpg", exif=exif)
    noise(91, 48, 40, 4).save(folder / "cat" / "alpha.png")
    noise(92, 48, 40).convert("P").save(folder / "cat" / "palette.gif", transparency=3)
    noise(93, 48, 40).convert("L").save(folder / "dog" / "grey.webp")
    noise(94, 48, 40).convert("CMYK").save(folder / "dog" / "cmyk.tif")


class Served:
    """As a classifier's served code; it keeps the pixels that it is given."""

    def __init__(self, facts: dict) -> None:
        self.facts, self.seen = facts, []

    def decode(self, data: bytes) -> np.ndarray:
        return decode_for(self.facts, data)

    def predict(self, inputs: dict, params: dict | None = None) -> dict:
        self.seen += list(inputs["image"])
        return {"label": np.arange(len(inputs["image"]))}


def client(served: Served, signature: dict = SIGNATURE) -> TestClient:
    app = Starlette()
    app.add_route("/predict", Predict(served, signature).answer, methods=["POST"])
    return TestClient(app)


@pytest.fixture
def served() -> Served:
    settings = ViewSettings(dataset="d", image_size=[16, 24], channels=3, background="#204060")
    return Served({"preparation": settings.preparation.to_json(), "domains": ["cat", "dog"]})


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_picture_over_http_is_the_row_of_the_view_to_the_bit(tmp_path, fit):
    write_photographs(tmp_path / "pictures")
    Folder.fetch(parse(Folder.Settings, {"source": "folder", "path": "pictures"}, "d"), out(tmp_path / "raw"), 0, tmp_path)
    settings = ViewSettings(dataset="d", image_size=[16, 24], channels=3, fit=fit, background="#204060")
    make_view("v", settings, tmp_path / "raw", tmp_path / "v", 0)
    evaluated = {
        row.tobytes() for batch in open_view(tmp_path / "v").batches("train", 5, pixels=True) for row in batch["image"].numpy()
    }
    files = sorted((tmp_path / "pictures").rglob("*.*"))
    served = Served({"preparation": settings.preparation.to_json()})
    sent = [("image", (path.name, path.read_bytes(), "application/octet-stream")) for path in files]
    reply = client(served).post("/predict", files=sent)
    assert [row["file"] for row in reply.json()["predictions"]] == [path.name for path in files]
    assert len(files) == 12
    assert {pixels.tobytes() for pixels in served.seen} == evaluated
    raw = client(served).post("/predict", content=files[0].read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert raw.json() == {"predictions": [{"file": "body", "label": 0}]}
    np.testing.assert_array_equal(served.seen[-1], served.seen[0])


def out(folder: Path) -> Path:
    folder.mkdir()
    return folder


def picture(kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    noise(1, 40, 40).save(file, kind)
    return file.getvalue()


def test_broken_pictures_are_named_all_of_them(served):
    files = [("image", ("a.jpg", picture())), ("image", ("b.jpg", picture()[:200])), ("image", ("c.jpg", b"<html>"))]
    reply = client(served).post("/predict", files=files)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("b.jpg: ")
    assert "; c.jpg: an HTML page" in reply.json()["error"]
    assert served.seen == []


@pytest.mark.parametrize(
    ("request_of", "status", "words"),
    [
        ({"json": {"image": 1}}, 415, "multipart/form-data with files 'image', or image/"),
        ({"files": [("picture", ("a.jpg", b""))]}, 400, "field 'picture': only 'image' holds files"),
        ({"data": {"image": "text"}, "files": [("x", ("a", b""))]}, 400, "'image' must be a file"),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data"}}, 400, "[Bb]oundary"),
        ({"content": bytes(2_000_001), "headers": {"Content-Type": "image/png"}}, 413, "at most 2,000,000 bytes"),
        ({"content": (bytes(10**6) for _ in range(3)), "headers": {"Content-Type": "image/png"}}, 413, "at most"),
        ({"content": picture(), "headers": {"Content-Type": "image/png"}, "params": {"gamma": 2}}, 400, "'gamma' is not known"),
        ({"files": [("image", (str(n), b"")) for n in range(65)]}, 400, "Too many files"),
    ],
)
def test_other_requests_are_refused(served, monkeypatch, request_of, status, words):
    monkeypatch.setenv("DARKROOM_MAX_REQUEST_MB", "2")
    reply = client(served).post("/predict", **request_of)
    assert reply.status_code == status, reply.text
    assert re.search(words, reply.json()["error"]), reply.text


def test_a_version_without_preparation_says_so():
    reply = client(Served({})).post("/predict", content=picture(), headers={"Content-Type": "image/jpeg"})
    assert (reply.status_code, "takes arrays only, at /invocations" in reply.json()["error"]) == (400, True)


def test_a_translator_takes_a_domain_by_name_and_answers_with_a_png(served, monkeypatch):
    asked = {}

    def predict(inputs, params=None):
        asked.update(inputs, params=params)
        return {"image": inputs["image"]}

    monkeypatch.setattr(served, "predict", predict)
    domain, seed = {"name": "domain", "dtype": "int64", "shape": [-1]}, {"name": "seed", "dtype": "int64", "default": 0}
    with client(served, {"inputs": [*SIGNATURE["inputs"], domain], "params": [seed]}) as translator:
        reply = translator.post("/predict", files=[("image", ("a.jpg", picture()))], data={"domain": "dog"}, params={"seed": 3})
        (row,) = reply.json()["predictions"]
        assert (asked["domain"].tolist(), asked["params"]) == ([1], {"seed": 3})
        image = Image.open(io.BytesIO(base64.b64decode(row["image"])))
        np.testing.assert_array_equal(np.asarray(image), asked["image"][0])
        wrong = translator.post("/predict", files=[("image", ("a.jpg", picture()))], data={"domain": "cow"})
        assert (wrong.status_code, wrong.json()["error"]) == (400, "domain: 'cow' is not allowed: cat, dog")
        missing = translator.post("/predict", files=[("image", ("a.jpg", picture()))])
        assert missing.json()["error"] == "field 'domain' is missing"


def test_the_scoring_server_answers_with_the_best_classes_and_refuses_a_version_that_answers_otherwise(home):
    export = home.folder / "outputs" / "export" / "small"
    served = load_served(export)
    entry = golden.record(export, served, 0, name="cat/0.jpg", data=picture(), suffix=".jpg", inputs={})
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": [entry]})
    publish(home.workspace, "small")
    with TestClient(application("study.small", 1)) as server:
        (row,) = server.post("/predict", files=[("image", ("a.jpg", picture()))]).json()["predictions"]
        expected = served.predict({"image": served.decode(picture())[None]})
        assert [row[name] for name in ("file", "label", "class_name")] == [
            "a.jpg",
            *(expected[n][0] for n in ("label", "class_name")),
        ]
        assert np.float32(row["probability"]) == expected["probability"][0]
        assert row["top"][0]["class_name"] == row["class_name"]
        assert sum(best["probability"] for best in row["top"]) == pytest.approx(1)
        arrays = server.post("/invocations", json={"inputs": {"image": served.decode(picture())[None].tolist()}})
        assert arrays.json()["predictions"]["label"] == [row["label"]]
    entry["outputs"]["label"] += 1
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": [entry | {"margin": 1.0}]})
    home.lock("0f")
    publish(home.workspace, "small")
    with pytest.raises(ValueError, match=r"study\.small version 2 is not served: golden picture cat/0\.jpg: label is"):
        application("study.small", 2)
