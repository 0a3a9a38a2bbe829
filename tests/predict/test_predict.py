"""Pictures in, predictions out: every kind of place, broken files, constant memory, tables and sheets."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predict.conftest import CLASSES, SIZE, Colours

from components.core.config.strict import SettingsError
from components.registry.predict.classify import Prediction, classify, predictions
from components.registry.predict.decoding import batches
from components.registry.predict.model import Model
from components.registry.predict.pictures import Picture, find_pictures
from components.registry.predict.sheet import EACH, Extremes, draw_page
from components.registry.predict.tables import tables
from components.serving.decoding import Preparation, decode_picture
from flows.predict.classifying import classify_pictures

PREPARATION = Preparation((SIZE, SIZE), (SIZE, SIZE), 3)


def decode(data: bytes) -> np.ndarray:
    return decode_picture(data, PREPARATION)


def names(*places: object) -> list[str]:
    return [picture.name for picture in find_pictures([str(place) for place in places])]


def test_every_kind_of_place(photos: Path) -> None:
    all_of_folder = [
        *(f"photos/{index}.jpg" for index in range(1, 9)),
        "photos/broken.jpg",
        "photos/text.png",
        "photos/more/9.jpg",
    ]
    assert names("photos") == names(photos) == all_of_folder
    assert names("photos/1.jpg", "photos/more") == ["photos/1.jpg", "photos/more/9.jpg"]
    Path("list.txt").write_text("photos/1.jpg\n\nphotos/none.jpg\n")
    Path("photos/table.csv").write_text("id,file\n7,1.jpg\n8,more/9.jpg\n")
    Path("photos/table.tsv").write_text("path\tid\n2.jpg\t1\n")
    assert names("list.txt") == ["photos/1.jpg", "photos/none.jpg"]
    assert names("photos/table.csv") == ["photos/1.jpg", "photos/more/9.jpg"]
    assert names("photos/table.tsv") == ["photos/2.jpg"]


def test_names_are_paths_and_never_formulas(photos: Path) -> None:
    photos.joinpath("1.jpg").rename("=1+1.jpg")
    assert names("=1+1.jpg") == ["./=1+1.jpg"]
    os.chdir(photos)
    assert names(photos.parent / "=1+1.jpg") == [str(photos.parent / "=1+1.jpg")]


def test_what_is_no_place_is_refused_before_anything_is_read(photos: Path) -> None:
    Path("table.csv").write_text("id,label\n1,a\n")
    for place, words in {
        "nowhere": "'nowhere' does not exist",
        "table.csv": "needs a column file, path, image or filename",
    }.items():
        with pytest.raises(SettingsError, match=words):
            find_pictures(["photos", place])


def test_broken_pictures_are_named_and_the_others_predicted(photos: Path) -> None:
    faults: list[str] = []
    found = batches(find_pictures(["photos"]), decode, 4, lambda picture, fault: faults.append(f"{picture.name}: {fault}"))
    done = [prediction for some, _ in classify(Colours(), found) for prediction in some]
    assert [prediction.file for prediction in done] == [*(f"photos/{index}.jpg" for index in range(1, 9)), "photos/more/9.jpg"]
    assert [fault.partition(": ")[0] for fault in faults] == ["photos/broken.jpg", "photos/text.png"]
    assert next(iter(batches([Picture(b"/none.jpg", "none")], decode, 4, lambda *fault: faults.append(fault[1]))), None) is None
    assert faults[-1] == "no such file"


def test_any_number_of_pictures_in_constant_memory(photos: Path) -> None:
    read: list[int] = []
    path = os.fsencode(photos / "1.jpg")
    endless = (Picture(path, str(read.append(index) or index)) for index in itertools.count())
    stream = batches(endless, decode, 8, print)
    for _ in range(3):
        pictures, pixels = next(stream)
        assert (len(pictures), pixels.shape) == (8, (8, SIZE, SIZE, 3))
    assert len(read) == 8 * 4  # one batch ahead
    stream.close()


def test_an_answer_is_that_of_the_model(photos: Path) -> None:
    served, pixels = Colours(detector=True), np.stack([decode((photos / f"{index}.jpg").read_bytes()) for index in (1, 4)])
    logits = served.scores(pixels)["logits"].astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for row, answer in enumerate(predictions(served, ["a", "b"], pixels)):
        order = np.argsort(-softmax[row])[:5]
        assert [name for name, _ in answer.top] == [CLASSES[k] for k in order]
        np.testing.assert_allclose([share for _, share in answer.top], softmax[row][order], rtol=1e-5)
        assert (answer.label, answer.probability) == answer.top[0]
        assert answer.is_ood == (row == 0)
    assert predictions(Colours(), ["a"], pixels[:1])[0].ood_score is None


def test_the_files_hold_the_answers_or_stay_as_they_were(tmp_path: Path) -> None:
    top = (("a, b", 0.75), ("c", 0.25))
    rows = [Prediction("x.jpg", "a, b", 0.75, top, -1.5, True), Prediction("caf\udce9.jpg", "c", 0.5, top[1:])]
    with tables(tmp_path / "p.csv", tmp_path / "p.jsonl") as write:
        write(rows[:1])
        write(rows[1:])
    with (tmp_path / "p.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"file": "x.jpg", "label": "a, b", "probability": "0.750000", "top5": "a, b:0.750000|c:0.250000",
             "ood_score": "-1.5", "is_ood": "true"},
            {"file": "caf\udce9.jpg", "label": "c", "probability": "0.500000", "top5": "c:0.250000",
             "ood_score": "", "is_ood": ""},
        ]  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert lines[0]["top5"] == [{"label": "a, b", "probability": 0.75}, {"label": "c", "probability": 0.25}]
    assert (lines[0]["is_ood"], lines[1]["is_ood"]) == (True, None)
    before = (tmp_path / "p.csv").read_bytes()
    with pytest.raises(AttributeError), tables(tmp_path / "p.csv") as write:
        write([rows[0], None])  # type: ignore[list-item]
    assert ((tmp_path / "p.csv").read_bytes(), len(list(tmp_path.iterdir()))) == (before, 2)


@pytest.mark.parametrize("number", [1, 7, 49, 50, 400])
def test_the_sheet_has_the_surest_and_the_least_sure_once(tmp_path: Path, number: int) -> None:
    shares = np.random.default_rng(0).permutation(np.arange(number) // 2 / number)  # ties too
    answers = [Prediction(f"{index}.jpg", "a", float(share), ()) for index, share in enumerate(shares)]
    extremes, pixels = Extremes(), np.zeros((1, SIZE, SIZE, 1), np.uint8)
    for answer in answers:
        extremes.add([answer], pixels)
    (_, surest), (_, unsure) = extremes.blocks()
    files = [tile.lines[1] for tile in (*surest, *unsure)]
    assert len(files) == len(set(files)) == min(number, 2 * EACH)
    ranked = sorted(shares, reverse=True)
    half = len(surest)
    assert [shares[int(name[:-4])] for name in files[:half]] == ranked[:half]
    assert [shares[int(name[:-4])] for name in files[half:]] == ranked[::-1][: len(unsure)]
    draw_page(tmp_path / "sheet.png", "title " * 40, extremes.blocks())
    with Image.open(tmp_path / "sheet.png") as page:
        assert page.width > page.height / 4


def test_a_model_of_captions_alone_names_the_command_that_fits(photos: Path) -> None:
    args = argparse.Namespace(run="words", what=[str(photos)], out=None, jsonl=False, batch=2, sheet=False)
    served = Colours()
    served.facts = {"classes": []}
    model = Model("words", "outputs/export", photos, served, decode)
    with pytest.raises(SettingsError, match=r"predict: words has no classes: .*`python -m flows search words TEXT FOLDER`"):
        classify_pictures(args, model)
