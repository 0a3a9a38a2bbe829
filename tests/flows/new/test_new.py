"""``new`` on folders of pictures: the blocks are those that a run accepts, every fault is named, and a fault writes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.core.settings import Workspace
from flows.__main__ import main
from flows.new import rules

PARAMS = """\
root: .          # here
seed: 0
pipeline: {runs: []}
datasets: {}
views: {}        # none yet
runs: {}
# the end
"""


def photograph(path: Path, seed: int, size: tuple[int, int] = (90, 70), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).convert(mode).save(path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace, the current folder, with ``photos/``: 12 roses and 12 tulips."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "params.yaml").write_text(PARAMS)
    for index in range(24):
        photograph(folder / "photos" / ("rose", "tulip")[index % 2] / f"{index}.jpg", index)
    return folder


def new(*words: str) -> int:
    return main(["new", *words, "--project", "."])


def test_the_blocks_are_those_that_a_run_accepts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("flowers", "photos") == 0
    out = capsys.readouterr().out
    assert "photos: 24 pictures, source folder\n  2 classes: rose 12, tulip 12\n" in out
    assert out.endswith(
        "written to params.yaml: datasets.flowers, views.flowers, runs.flowers\nnext:  python -m flows run --runs flowers\n"
    )
    workspace = Workspace(place)
    run = workspace.run("flowers").parsed()
    assert (run.view, run.model.name, run.train.batch_size) == ("flowers", "pp_lcnet", 8)
    assert workspace.dataset("flowers").path == "photos"
    assert workspace.view("flowers").image_size == 64
    text = (place / "params.yaml").read_text()
    assert "root: .          # here\n" in text
    assert "views:        # none yet\n  flowers:" in text
    assert text.endswith("# the end\n")


def test_a_dry_run_and_a_view_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("photos", "--dry-run") == 0
    assert "runs:\n  photos:\n    recipe: classification" in capsys.readouterr().out
    assert (place / "params.yaml").read_text() == PARAMS
    assert new("photos", "--name", "flowers", "--view", "small", "--view-only") == 0
    params = Workspace(place).params
    assert (list(params.datasets), list(params.views), list(params.runs)) == (["flowers"], ["small"], [])


def test_nothing_is_written_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new("flowers", "photos") == 0
    before = (place / "params.yaml").read_bytes()
    assert new("flowers", "photos", "--run", "other") == 2
    err = capsys.readouterr().err
    assert "datasets.flowers: params.yaml has such a block already" in err
    assert "views.flowers: " in err
    assert new("Flowers!", "photos") == 2
    assert "'Flowers!' is no name" in capsys.readouterr().err
    assert (place / "params.yaml").read_bytes() == before
    (place / "params.yaml").write_text(PARAMS.replace("views: {} ", "views: {broken: {image_size: no}} "))
    assert new("broken", "photos") == 2
    assert "views.broken: params.yaml has such a block already" in capsys.readouterr().err


def test_a_block_that_a_run_refuses_is_not_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rules, "LEARNING_RATE", 0.0)
    assert new("flowers", "photos") == 2
    assert "runs.flowers.train.learning_rate: 0" in capsys.readouterr().err
    assert (place / "params.yaml").read_text() == PARAMS


def test_all_faults_are_named_and_nothing_is_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(place / "photos" / "tulip")
    for index, name in enumerate(("Rose", "thin", "thin")):
        photograph(place / "photos" / name / f"x{index}.jpg", 50 + index)
    whole = (place / "photos" / "rose" / "0.jpg").read_bytes()
    (place / "photos" / "rose" / "cut.jpg").write_bytes(whole[: len(whole) - 300])  # its header is whole
    (place / "photos" / "rose" / "empty.jpg").touch()
    assert new("flowers", "photos") == 2
    err = capsys.readouterr().err
    for words in (
        "17 pictures: at least 20",
        "class 'thin' has 2 of the 3 pictures",
        "'Rose', 'rose' differ",
        "rose/cut.jpg: ",
        "empty.jpg",
    ):
        assert words in err, err
    assert (place / "params.yaml").read_text() == PARAMS


def test_one_class_is_no_classifier(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (place / "photos" / "tulip").iterdir():
        path.rename(place / "photos" / "rose" / path.name)
    (place / "photos" / "tulip").rmdir()
    assert new("flowers", "photos") == 2
    assert "1 class (rose): a classifier needs at least 2" in capsys.readouterr().err


def test_grey_pictures_have_one_channel(place: Path) -> None:
    for index in range(24):
        name = ("rose", "tulip")[index % 2]
        photograph(place / "photos" / name / f"{index}.jpg", index, mode=("L", "RGB")[index == 0])
    photograph(place / "photos" / "rose" / "0.jpg", 0, mode="L")
    assert new("flowers", "photos") == 0
    assert Workspace(place).view("flowers").channels == 1


def test_paths_are_relative_near_the_workspace(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "photos", tmp_path / "beside")
    assert new("beside", str(tmp_path / "beside")) == 0
    assert Workspace(place).params.datasets["beside"]["path"] == "../beside"
    far = tmp_path.parent / f"{tmp_path.name}-far" / "photos"
    shutil.copytree(place / "photos", far)
    assert new("far", str(far)) == 0
    assert Workspace(place).params.datasets["far"]["path"] == str(far)


def boxed(folder: Path, change: dict[str, object] | None = None) -> None:
    """Write 24 pictures of 90 x 70 pixels in COCO's form, with 1 to 3 boxes each; ``change``: of the last box."""
    annotations: list[dict[str, object]] = []
    for index in range(24):
        photograph(folder / "images" / f"{index}.jpg", index)
        for place in range(1 + index % 3):
            box = {"image_id": index, "category_id": 1 + place % 2, "bbox": [5 + 20 * place, 10, 18, 18], "iscrowd": 0}
            annotations.append({"id": len(annotations), **box})
    annotations[-1] |= change or {}
    images = [{"id": index, "file_name": f"{index}.jpg", "width": 90, "height": 70} for index in range(24)]
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))


def test_pictures_with_boxes_have_a_detector(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxed(place / "boxes")
    assert new("objects", "boxes") == 0
    out = capsys.readouterr().out
    assert "24 pictures, source coco\n  48 boxes, at most 3 a picture; 2 classes: disc 32, square 16\n" in out
    assert out.endswith("next:  python -m flows run --runs objects\n")
    run = Workspace(place).run("objects").parsed()
    assert (run.recipe, run.model.options["num_queries"], run.train.batch_size) == ("detr", 10, 8)
    assert Workspace(place).view("objects").image_size == (64, 80)


def test_a_few_invalid_boxes_are_clipped_and_many_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, box, told in (("beyond", [80, 10, 30, 30], "1 boxes clipped, 0"), ("flat", [5, 10, 0, 18], "0 boxes clipped, 1")):
        boxed(place / "boxes", {"bbox": box})
        assert new(name, "boxes") == 0
        assert f"- invalid_boxes clip: {told} left out\n" in capsys.readouterr().out
        assert Workspace(place).params.datasets[name]["invalid_boxes"] == "clip"
    content = json.loads((place / "boxes" / "annotations.json").read_text())
    for annotation in content["annotations"][:3]:
        annotation["bbox"] = [80, 10, 30, 30]
    (place / "boxes" / "annotations.json").write_text(json.dumps(content))
    assert new("many", "boxes") == 2
    assert "is not inside the picture, 90 x 70 pixels; invalid_boxes: clip cuts it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"category_id": 9}, "9"),
        ({"bbox": [5, 10, float("nan"), 18]}, "nan"),
        ({"image_id": 77}, "77"),
    ],
)
def test_wrong_boxes_are_named(place: Path, change: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    boxed(place / "boxes", change)
    status = new("boxes")
    err = capsys.readouterr().err
    assert (status, words in err) == (2, True), err
    assert (place / "params.yaml").read_text() == PARAMS


def test_annotations_without_any_box_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxed(place / "boxes")
    content = json.loads((place / "boxes" / "annotations.json").read_text())
    (place / "boxes" / "annotations.json").write_text(json.dumps(content | {"annotations": []}))
    assert new("boxes") == 2
    assert "no boxes in any picture: there is nothing to learn to find" in capsys.readouterr().err
