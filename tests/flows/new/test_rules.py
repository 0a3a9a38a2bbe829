"""Each rule of the table, and that the documentation holds the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workbench import ROOT

from flows.new.box_rules import BOX_TABLE
from flows.new.caption_rules import CAPTION_TABLE
from flows.new.look import Pictures
from flows.new.rules import choose
from flows.new.table import TABLE

CLASSES = {"daisy": 300, "rose": 300, "tulip": 300}


def pictures(number: int = 900, **other: Any) -> Pictures:
    given = {
        "source": "folder",
        "path": Path("photos"),
        "settings": {},
        "classes": CLASSES,
        "splits": (),
        "number": number,
        "short_side": 500,
    }
    return Pictures(**given | {"aspect": 1.4, "grey": False, "decoded": number, "faults": ()} | other)


@pytest.mark.parametrize(
    ("number", "size", "batch", "steps", "scale"),
    [
        (60, (64, 80), 8, 500, 0.5),
        (900, (64, 80), 32, 1200, 0.5),
        (9_000, (128, 152), 64, 4000, 1.0),
        (90_000, (224, 256), 128, 9900, 1.0),
    ],
)
def test_number(number: int, size: tuple[int, int], batch: int, steps: int, scale: float) -> None:
    choice = choose(pictures(number), threads=2)
    assert choice.run
    train = choice.run["train"]
    assert (choice.view["image_size"], choice.view["stored_size"]) == size
    assert (train["batch_size"], train["steps"], train["warmup"]) == (batch, steps, steps // 20)
    assert choice.run["model"] == {"name": "pp_lcnet", "scale": scale, "strides": [1 if size[0] < 112 else 2, 2, 2, 2, 2]}


def test_pictures_are_never_enlarged() -> None:
    choice = choose(pictures(short_side=33))
    assert choice.view["image_size"] == 32
    assert choice.run
    assert choice.run["model"] == {"name": "resnet18", "width": 32}
    assert choose(pictures(90_000, short_side=100)).view["image_size"] == 96


def test_grey_pictures_are_not_mirrored() -> None:
    grey, colour = choose(pictures(grey=True)).view, choose(pictures()).view
    assert (grey["channels"], colour["channels"]) == (1, 3)
    assert [any("HorizontalFlip" in item for item in view["augment"]) for view in (grey, colour)] == [False, True]
    assert "stored_size" not in grey  # nothing draws a crop from it


def test_long_pictures_are_padded() -> None:
    choice = choose(pictures(aspect=2.5))
    assert choice.view["fit"] == "pad"
    assert "stored_size" not in choice.view
    assert "fit" not in choose(pictures(aspect=2.0)).view


def test_published_splits_stay() -> None:
    assert choose(pictures()).view["split"] == {"by": "image", "validation": 0.1, "test": 0.2}
    assert choose(pictures(splits=("train", "test"))).view["split"] == {"by": "image", "validation": 0.1}
    assert "split" not in choose(pictures(splits=("train", "validation", "test"))).view


def test_classes_set_the_sampler_and_the_floor() -> None:
    even, uneven = choose(pictures()).run, choose(pictures(classes={"a": 850, "b": 50})).run
    assert even
    assert uneven
    assert ("sampler" in even["train"], uneven["train"]["sampler"]) == (False, "balanced")
    assert (even["promote"]["floor"], uneven["promote"]["floor"]) == (0.56, 0.96)


def test_a_detector_needs_validation_pictures() -> None:
    few, many, most = (choose(pictures(number)) for number in (400, 900, 90_000))
    assert few.detect is None
    assert any("40 validation pictures" in reason for reason in few.reasons)
    assert many.detect == {"serve": "knn", "detectors": ["knn"]}
    assert most.detect == {"serve": "relative_mahalanobis", "detectors": ["relative_mahalanobis"]}


def test_small_pictures_have_one_thread() -> None:
    assert [choose(pictures(number)).run["train"]["threads"] == 1 for number in (60, 900)] == [True, True]  # type: ignore[index]


BOXES = {"source": "coco", "classes": None, "boxes": {"cell": 900, "dust": 2}, "most_boxes": 30, "wide": 4 / 3}
BOXES |= {"short_side": 480, "box_sides": (0.1, 0.15, 0.18, 0.2)}


def boxes(number: int = 300, **other: Any) -> tuple[dict[str, Any], dict[str, Any], str]:
    """View, run and reasons of pictures with boxes."""
    choice = choose(pictures(number, **BOXES | other), threads=2)
    assert choice.run
    assert choice.detect is None
    return choice.view, choice.run, "\n".join(choice.reasons)


def test_boxes_have_a_detector_with_queries_for_the_fullest_picture() -> None:
    view, run, reasons = boxes()
    assert (run["recipe"], run["model"]["num_queries"], run["export"]) == ("detr", 40, {"detections": 100})
    assert [boxes(most_boxes=most)[1]["model"]["num_queries"] for most in (1, 8, 9, 100)] == [10, 10, 20, 130]
    assert boxes(most_boxes=2000)[1]["export"] == {"detections": 1000}
    assert (view["image_size"], view["fit"]) == ([128, 176], "pad")
    assert (run["evaluate"]["small"], run["evaluate"]["large"]) == (23, 30)
    assert "dust 2" in reasons
    assert "cell" not in reasons


def test_pictures_are_as_large_as_their_objects_need() -> None:
    def sides(**other: Any) -> Any:
        return boxes(wide=1.0, **other)[0]["image_size"]

    assert sides(box_sides=(0.5, 0.5, 0.5, 0.5)) == 96
    assert sides(box_sides=(0.1, 0.2, 0.2, 0.2)) == 144, "28 pixels of the median object"
    assert sides(box_sides=(0.06, 0.2, 0.2, 0.2)) == 160, "10 pixels of the small ones"
    assert sides(box_sides=(0.001, 0.01, 0.01, 0.01)) == 320
    assert sides(box_sides=(0.001, 0.01, 0.01, 0.01), short_side=100) == 96, "no larger than the pictures"
    assert boxes(wide=0.5)[0]["image_size"] == [224, 112]


@pytest.mark.parametrize(("number", "width", "steps"), [(60, 32, 6000), (1000, 32, 11400), (9_000, 64, 51_200)])
def test_the_size_of_the_detector_follows_the_number_of_pictures(number: int, width: int, steps: int) -> None:
    run = boxes(number)[1]
    assert (run["model"]["width"], run["train"]["steps"]) == (width, steps)


def test_without_classes_and_boxes_there_is_a_view_alone() -> None:
    choice = choose(pictures(source="coco", classes=None))
    assert (choice.run, choice.detect, choice.view["image_size"]) == (None, None, 64)
    assert choice.reasons[-1].startswith("no run: ")


def test_captions_alone_have_a_clip() -> None:
    choice = choose(pictures(1000, source="table", classes=None, captions=True), threads=2)
    assert choice.run
    assert choice.run["recipe"] == "clip"
    assert choice.run["model"] | {"patch": 8, "width": 128, "text_depth": 2, "embed_dim": 128} == choice.run["model"]
    assert (choice.run["train"]["batch_size"], choice.run["train"]["steps"]) == (128, 600)
    assert choice.run["promote"] == {"metric": "text_to_image.recall_at_10", "floor": 0.15}
    assert choice.view["text"]["truncate"]
    names = [name for transform in choice.view["augment"] for name in transform]
    assert "HorizontalFlip" not in names, "a caption may say left or right"
    assert "ColorJitter" in names
    few = choose(pictures(100, source="table", classes=None, captions=True))
    assert few.run
    assert (few.run["train"]["batch_size"], few.run["promote"]["floor"]) == (16, 0.667)
    assert choose(pictures(1000, captions=True)).run["recipe"] == "classification"  # type: ignore[index]


def test_the_documentation_has_this_table() -> None:
    text = (ROOT / "docs" / "new.md").read_text(encoding="utf-8")
    for row in TABLE:
        limit = "more" if row.pictures == float("inf") else f"to {row.pictures:,}"
        cells = (limit, row.image_size, f"`pp_lcnet`, scale {row.scale:g}", row.batch_size, row.epochs, row.augment)
        assert f"| {' | '.join(map(str, cells))} |" in text
    for row in BOX_TABLE:
        limit = "more" if row.pictures == float("inf") else f"to {row.pictures:,}"
        layers = f"{row.encoder_layers} + {row.decoder_layers}"
        assert f"| {limit} | {row.width} | {row.hidden_dim} | {layers} | {row.ffn_dim} | {row.epochs} |" in text
    for towers in CAPTION_TABLE:
        limit = "more" if towers.pictures == float("inf") else f"to {towers.pictures:,}"
        cells = (limit, towers.width, f"{towers.image_depth}, {towers.text_depth}", towers.heads, towers.epochs)
        assert f"| {' | '.join(map(str, cells))} |" in text
