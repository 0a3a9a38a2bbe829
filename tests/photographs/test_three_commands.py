"""``new``, ``run``, ``predict`` and ``image`` on 60 generated photographs in a fresh clone."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from photographs.pictures import CLASSES, write_photographs
from workbench import make_project, run

from components.serving.loading import load_served

pytestmark = pytest.mark.slow
PARAMS = "root: .   # the code lies here\nseed: 0\npipeline: {runs: []}\ndatasets: {}\nviews: {}\nruns: {}\n"
# A training that ends soon: these tests are about the way, not about the figures.
SHORT = {"steps: 500": "steps: 60", "warmup: 25": "warmup: 3", "ema_decay: 0.99": "ema_decay: 0.9"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the run has been made."""
    folder = make_project(tmp_path_factory.mktemp("photographs") / "clone", {"root": "."})
    (folder / "params.yaml").write_text(PARAMS)
    write_photographs(folder / "photos", 60)
    write_photographs(folder / "new_photos", 15, seed=1)
    flows(folder, "new", "flowers", "photos/")
    text = (folder / "params.yaml").read_text()
    for long, short in SHORT.items():
        assert long in text
        text = text.replace(long, short)
    (folder / "params.yaml").write_text(text)
    flows(folder, "run", "--runs", "flowers")
    return folder


def flows(folder: Path, *words: str) -> str:
    return run(sys.executable, "-m", "flows", *words, cwd=folder).stdout


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_new_photographs_are_predicted(place: Path) -> None:
    (place / "new_photos" / "broken.jpg").write_bytes(b"no picture")
    out = flows(place, "predict", "flowers", "new_photos/")
    assert "flowers: version 1, the candidate\n15 of 16 pictures predicted, 1 broken\n" in out
    found = rows(place)
    assert sorted(found) == sorted(f"new_photos/{CLASSES[index % 3]}/{index:03d}.jpg" for index in range(15))
    assert {row["label"] for row in found.values()} <= set(CLASSES)
    assert (place / "predictions.png").stat().st_size > 10_000


def test_a_photograph_is_what_the_evaluation_saw_to_the_bit(place: Path) -> None:
    names = json.loads((place / "outputs/view_report/flowers/names.json").read_text())["test"]
    pixels = np.load(place / "outputs/views/flowers/test.image.npy")
    served = load_served(place / "outputs/export/flowers")
    inset = (pixels.shape[1] - served.facts["image_size"]) // 2
    centre = pixels[:, inset : inset + served.facts["image_size"], inset : inset + served.facts["image_size"]]
    flows(place, "predict", "flowers", "photos/")
    found = rows(place)
    assert len(names) == 12
    for name, image in zip(names, centre, strict=True):
        np.testing.assert_array_equal(served.decode((place / "photos" / name).read_bytes()), image)
        answer = served.predict({"image": image[None]})
        row = found[f"photos/{name}"]
        assert row["label"] == answer["class_name"][0]
        assert float(row["probability"]) == pytest.approx(float(answer["probability"][0]), abs=1e-5)


def test_the_container_context_answers_in_a_fresh_venv(place: Path) -> None:
    out = flows(place, "image", "flowers", "--check")
    assert "4 golden pictures)\n" in out
    assert "packages installed into a new venv in" in out
    assert "answers 4 golden pictures as it did when it was exported" in out
