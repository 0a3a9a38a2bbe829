"""Which version predicts: champion, candidate, a number, the local export; and the commands around it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tracking.conftest import Home, bare_home, fresh_store, home, template, work
from workbench import ROOT

from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.predict.model import find_model
from components.registry.tracking import connect, publish
from flows.__main__ import main

__all__ = ["bare_home", "fresh_store", "home", "template", "work"]
NAME = "study.small"


def test_champion_then_candidate_then_the_version_asked_for(home: Home) -> None:
    with pytest.raises(
        SettingsError, match=r"study\.small has neither champion nor candidate: `python -m flows run --runs small`"
    ):
        find_model(home.workspace, "small")
    publish(home.workspace, "small")
    assert find_model(home.workspace, "small").origin == "version 1, the candidate"
    registry.set_alias(connect(), NAME, "champion", 1)
    home.lock("0f")
    publish(home.workspace, "small")
    origins = [find_model(home.workspace, "small", version).origin for version in (None, 2)]
    assert origins == ["version 1, the champion", "version 2, its candidate"]
    with pytest.raises(SettingsError, match=r"--version: study\.small has no version 7; there are: 1, 2"):
        find_model(home.workspace, "small", 7)
    with pytest.raises(SettingsError, match="RUN: unknown name 'smal'"):
        find_model(home.workspace, "smal")
    with pytest.raises(
        SettingsError, match=r"sample: study\.small is a classifier, which takes `python -m flows predict RUN WHAT`"
    ):
        find_model(home.workspace, "small").must_be("generator", "sample")


def test_no_registry_is_made_by_asking(bare_home: Home, work: Path) -> None:
    with pytest.raises(SettingsError, match="--local takes outputs/export/small"):
        find_model(bare_home.workspace, "small")
    assert not work.exists()
    assert find_model(bare_home.workspace, "small", local=True).kind == "classifier"


def test_an_export_without_preparation_takes_that_of_its_view(bare_home: Home) -> None:
    facts = bare_home.folder / "outputs/export/small/facts.json"
    content = json.loads(facts.read_text())
    content.pop("preparation", None)
    facts.write_text(json.dumps(content))
    text = (bare_home.folder / "params.yaml").read_text()
    view = "views: {digits: {dataset: digits, image_size: 8, channels: 1, fit: stretch}}"
    bare_home.write("params.yaml", text.replace("views: {digits: {dataset: digits}}", view))
    with pytest.raises(SettingsError, match="the model takes pictures of 4 x 4 x 1, and view digits as it is today"):
        find_model(Workspace(bare_home.folder), "small", local=True)
    facts.write_text(json.dumps(content | {"image_size": 8}))
    picture = bare_home.folder / "wide.png"
    Image.fromarray(np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[None], 8, 0)).save(picture)
    decoded = find_model(Workspace(bare_home.folder), "small", local=True).decode(picture.read_bytes())  # type: ignore[misc]
    assert decoded.shape == (8, 8, 1)
    assert (decoded[0, 0, 0] < 40, decoded[0, -1, 0] > 200) == (True, True)  # stretched: a crop would lose both ends


@pytest.fixture
def place(bare_home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace as the current folder, with three pictures in ``new``."""
    shutil.copyfile(ROOT / "requirements.lock", bare_home.folder / "requirements.lock")
    monkeypatch.chdir(bare_home.folder)
    (bare_home.folder / "new").mkdir()
    for index in range(3):
        Image.new("L", (9, 7), 100 * index).save(bare_home.folder / "new" / f"{index}.png")
    return bare_home.folder


def flows(*words: str) -> int:
    return main([*words, "--local", "--project", "."])


def test_predict_writes_a_table_and_a_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "new" / "broken\n.jpg").write_bytes(b"x")
    assert flows("predict", "small", "new", "--jsonl") == 0
    out, err = capsys.readouterr()
    assert "study.small: outputs/export/small\n3 of 4 pictures predicted, 1 broken\n" in out
    assert "written: predictions.csv, predictions.jsonl, predictions.png" in out
    assert err.startswith("broken: new/broken\\n.jpg: ")
    with (place / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["new/0.png", "new/1.png", "new/2.png"]
    served = find_model(Workspace(place), "small", local=True).served
    for row in rows:
        expected = served.predict({"image": served.decode((place / row["file"]).read_bytes())[None]})
        assert row["label"] == expected["class_name"][0]
        assert float(row["probability"]) == pytest.approx(float(expected["probability"][0]), abs=1e-6)
    with Image.open("predictions.png") as page:
        assert page.width > 500


def test_only_broken_pictures_are_a_failure_and_none_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "broken.jpg").write_bytes(b"x")
    (place / "empty").mkdir()
    assert flows("predict", "small", "broken.jpg") == 1
    before = (place / "predictions.csv").read_bytes()
    assert flows("predict", "small", "empty") == 2
    assert "WHAT: no picture is there" in capsys.readouterr().err
    assert (place / "predictions.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "small", "new", "--batch", "0"], "--batch: 0 is not allowed"),
        (["predict", "small", "new", "--out", "x.png"], "--out: 'x.png' is not allowed"),
        (["predict", "small", "new", "--domain", "cat"], "predict --domain: study.small is a classifier"),
        (["predict", "small", "nowhere"], "WHAT: 'nowhere' does not exist"),
        (["predict", "large", "new"], "RUN: unknown name 'large'; allowed: small"),
        (["sample", "small"], "sample: study.small is a classifier"),
        (["sample", "small", "--number", "0"], "--number: 0 is not allowed"),
        (["image", "small", "--out", "new"], "--out: 'new' exists and is no empty folder"),
    ],
)
def test_what_is_wrong_is_said(place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert flows(*words) == 2
    assert message in capsys.readouterr().err
    assert not (place / "predictions.csv").exists()


def test_image_says_what_is_in_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flows("image", "small") == 0
    out, err = capsys.readouterr()
    assert "written: small_image/ (" in out
    assert "no golden pictures" in err
    assert (place / "small_image" / "model" / "served.py").is_file()
