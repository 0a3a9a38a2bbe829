"""Names, rows and samples of a view's report: every row has its picture's name, and a sample decodes to its row's pixels."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.stages.augment.decode import decode_file
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.prepare import make_view
from components.stages.augment.raw.layouts import read_dataset
from components.stages.augment.report import samples
from components.stages.views.view import open_view

SPLIT = {"by": "image", "validation": 0.2, "test": 0.3}


@pytest.fixture
def pictures(files_out):
    """Twenty photographs of two classes, some with an orientation."""
    rng = np.random.default_rng(0)
    members = []
    for index in range(20):
        image = Image.fromarray(rng.integers(0, 256, (14 + index, 20, 3), dtype=np.uint8))
        image.info["exif"] = b""
        if index % 3 == 0:
            exif = image.getexif()
            exif[0x0112] = 6
            image.info["exif"] = exif.tobytes()
        members.append((f"{'ab'[index % 2]}/photo {index}.{'jpg' if index % 4 else 'png'}", image))
    return files_out(members)


def report_of(dataset, folder, **block):
    settings = parse(ViewSettings, {"dataset": "d", "image_size": 12, "channels": 3, "split": SPLIT, **block}, "views.v")
    make_view("v", settings, dataset, folder / "view", 0, report=folder / "report")
    return settings, open_view(folder / "view"), folder / "report"


def table(report):
    with (report / "rows.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_has_the_name_of_its_picture(pictures, tmp_path):
    settings, view, report = report_of(pictures, tmp_path)
    names = json.loads((report / "names.json").read_text())
    raw = read_dataset(pictures)[0]["all"]
    place = {raw.name(index): index for index in range(len(raw))}
    assert sorted(place) == sorted(name for split in names.values() for name in split)
    for split, listed in names.items():
        expected = np.stack([decode_file(raw.picture(place[name]), settings) for name in listed])
        assert np.array_equal(view.split(split).images, expected)


def test_copies_repeat_the_names_and_are_not_listed_as_pictures(pictures, tmp_path):
    _, view, report = report_of(pictures, tmp_path, augment=[{"HorizontalFlip": {"p": 0.5}}], copies=2)
    names = json.loads((report / "names.json").read_text())
    assert {split: len(listed) for split, listed in names.items()} == view.facts.counts
    assert names["train"][:10] == names["train"][10:20] == names["train"][20:]
    assert len(table(report)) == 20


def test_a_line_of_rows_tells_content_and_class_and_no_setting_of_the_view_changes_the_content(pictures, tmp_path):
    first, second = (
        {line["name"]: line for line in table(report_of(pictures, tmp_path / str(size), image_size=size)[2])}
        for size in (12, 9)
    )
    assert {name: line["content"] for name, line in first.items()} == {name: line["content"] for name, line in second.items()}
    assert len({line["content"] for line in first.values()}) == 20
    assert all(line["class:label"] == name[0] for name, line in first.items())


def test_annotations_are_told_apart(annotated, tmp_path):
    def change(values):
        values["text"][7] = ["another"]
        values["boxes"][5] = (values["boxes"][5][0][:2], values["boxes"][5][1][:2])

    whole = {"split": {"by": "group", "validation": 0.2, "test": 0.3}}
    first, second = (
        {
            line["name"]: line["annotations"]
            for line in table(report_of(annotated(name, edit), tmp_path / f"v{name}", **whole)[2])
        }
        for name, edit in (("plain", None), ("edited", change))
    )
    assert {name for name in first if first[name] != second[name]} == {"all.image.npy[5]", "all.image.npy[7]"}


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"corrupt": [{"GaussNoise": {}}]},
        {"stored_size": 16, "augment": [{"RandomCrop": {"height": 12, "width": 12}}]},
        {"channels": 1},
    ],
)
def test_a_sample_decodes_to_the_pixels_of_its_row(pictures, tmp_path, block, monkeypatch):
    monkeypatch.setattr(samples, "MAX_BYTES", 1200)  # some of them are larger
    settings, view, report = report_of(pictures, tmp_path, **block)
    listed = json.loads((report / "samples" / "samples.json").read_text())
    names = json.loads((report / "names.json").read_text())
    assert len(listed) == 4
    assert len({entry["name"][0] for entry in listed}) == 2, "both classes"
    pixels = np.concatenate([batch["image"].numpy() for batch in view.batches("validation", 8, pixels=True)])
    for entry in listed:
        assert entry["split"] == "validation"
        assert names["validation"][entry["row"]] == entry["name"]
        data = (report / "samples" / entry["file"]).read_bytes()
        assert np.array_equal(decode_file(data, settings), pixels[entry["row"]])


def test_a_picture_alone_is_the_picture_in_its_order(pictures):
    raw = read_dataset(pictures)[0]["all"]
    assert [raw.picture(index) for index in range(len(raw))] == list(raw.pictures())
    assert raw.picture(3) == replace(raw, at=None).picture(3)
