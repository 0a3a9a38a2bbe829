"""Every family of the catalogue, exported, on the command line: classifiers and translators predict, generators draw."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from families.tiny import TINY, Tiny, scattered
from PIL import Image
from workbench import ROOT, write_params

from components.core.settings import Workspace
from components.registry.predict.model import find_model
from components.stages.export import stage
from flows.__main__ import main

pytestmark = pytest.mark.slow
KINDS = {
    "classification": "classifier",
    "noisy_classifier": "classifier",
    "clip": "classifier",
    "limoe": "classifier",
    "simmim": "encoder",
}
KINDS |= {"diffusion": "generator", "pixelcnn": "generator", "stylegan2": "generator", "detr": "detector"}
PARAMS = {"diffusion": ["--param", "steps=2"], "pixelcnn": ["--param", "temperature=0.8"]}
PARAMS |= {"stylegan2": ["--param", "truncation=0.7"]}


@pytest.fixture(params=TINY)
def family(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An export of the family's tiny run in the current folder, and three pictures in ``new``."""
    torch.set_num_threads(1)
    tiny = Tiny(request.param, tmp_path)
    tiny.save(scattered(tiny.build()))
    params, view = tiny.params(), tiny.entry["view"]
    params["views"]["plain"] |= {"image_size": max(8, view["size"]), "channels": view["channels"]}
    write_params(tmp_path, params)
    stage.run(Workspace(tmp_path), "tiny")
    shutil.copyfile(ROOT / "requirements.lock", tmp_path / "requirements.lock")
    (tmp_path / "new").mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 50 + index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "new" / f"{index}.jpg")
    monkeypatch.chdir(tmp_path)
    return str(request.param)


def flows(*words: str) -> int:
    return main([*words, "--local", "--project", "."])


def test_every_family_predicts_or_draws(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = find_model(Workspace(tmp_path), "tiny", local=True)
    assert model.kind == KINDS.get(family, "translator")
    if model.kind == "classifier":
        assert flows("predict", "tiny", "new") == 0
        with Path("predictions.csv").open(newline="") as file:
            assert [row["file"] for row in csv.DictReader(file)] == ["new/0.jpg", "new/1.jpg", "new/2.jpg"]
        return
    if model.kind == "encoder":
        assert [flows("predict", "tiny", "new"), flows("sample", "tiny")] == [2, 2]
        assert capsys.readouterr().err.count("tiny is an encoder, which takes no command") == 2
        assert model.decode is not None
        answer = model.served.predict({"image": model.decode(Path("new/0.jpg").read_bytes())[None]})
        assert {name: len(array) for name, array in answer.items()} == {"features": 1, "reconstruction": 1}
        return
    if model.kind == "detector":
        assert flows("predict", "tiny", "new", "--threshold", "0.001", "--jsonl") == 0
        with Path("predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["file"] for row in rows} == {"new/0.jpg", "new/1.jpg", "new/2.jpg"}
        assert all(0 <= float(row["x_min"]) <= float(row["x_max"]) <= 52 for row in rows if row["label"])
        assert Path("predictions.png").is_file()
        assert flows("predict", "tiny", "new", "--threshold", "1.5") == 2
        return
    shape = next(entry["shape"] for entry in model.signature["outputs"] if entry["name"] == "image")
    if model.kind == "translator":
        domain = model.served.facts["domains"][-1]
        assert flows("predict", "tiny", "new", "--domain", domain, "--batch", "2") == 0
        written = [Path(f"tiny_{domain}/new/{index}.png") for index in range(3)]
        alone = ["predict", "tiny", "new/0.jpg", "--domain", domain, "--out", "alone", "--no-sheet"]
        assert flows(*alone) == 0
        assert Path("alone/new/0.png").read_bytes() == written[0].read_bytes()
    else:
        assert flows("sample", "tiny", "--number", "3", "--seed", "5", *PARAMS[family]) == 0
        written = [Path(f"tiny_samples/{index:05d}.png") for index in range(3)]
        assert flows("sample", "tiny", "--number", "2", "--seed", "5", "--out", "again", *PARAMS[family]) == 0
        assert Path("again/00001.png").read_bytes() == written[1].read_bytes()
    for path in written:
        with Image.open(path) as image:
            assert (image.height, image.width) == tuple(shape[1:3])
    assert "written: " in capsys.readouterr().out
