"""From a picture of any size to boxes in its own pixels: by the export's code, and in the graph."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from components.families.detr.exported import best, in_pixels
from components.families.detr.served import Served
from components.families.detr.windows import as_sizes, picture_size, window_of
from components.serving.decoding import read_picture
from components.serving.preparation import Preparation

SIDES = (61, 97)  # height, width of the picture


def preparation(**options):
    return Preparation(**{"image_size": (32, 48), "stored_size": (32, 48), "channels": 3} | options)


PREPARATIONS = [
    preparation(fit="stretch"),
    preparation(fit="pad"),
    preparation(fit="crop"),
    preparation(fit="pad", stored_size=(40, 52)),
    preparation(fit="crop", stored_size=(48, 48)),
]


@pytest.mark.parametrize("prepared", PREPARATIONS, ids=lambda one: f"{one.fit} {one.stored_size}")
def test_the_window_undoes_the_placement_of_boxes(prepared):
    """A box is moved by the view as its training saw it, and back by the window and the graph."""
    placement = read_picture(encoded("PNG"), prepared).placement
    box = np.array([[0.45, 0.55, 0.2, 0.3]], np.float32)  # inside every crop
    stored, _ = placement.boxes(box)
    rows, columns = ((outer - inner) // 2 for outer, inner in zip(prepared.stored_size, prepared.image_size, strict=True))
    corners = np.array([stored[0, 0] - stored[0, 2] / 2, stored[0, 1] - stored[0, 3] / 2])
    corners = np.concatenate([corners, corners + stored[0, 2:]]) * np.tile(prepared.stored_size[::-1], 2)
    relative = (corners - np.tile([columns, rows], 2)) / np.tile(prepared.image_size[::-1], 2)
    mask, window = window_of(prepared, SIDES)
    size = torch.tensor([SIDES], dtype=torch.float32)
    found = in_pixels(torch.tensor(relative, dtype=torch.float32)[None, None], torch.tensor([window]), size)[0, 0]
    expected = np.array([0.35 * 97, 0.4 * 61, 0.55 * 97, 0.7 * 61])
    assert found.numpy() == pytest.approx(expected, abs=1e-3)
    assert mask.shape == prepared.image_size
    assert mask.all() == (prepared != PREPARATIONS[1])


def encoded(form, **options):
    file = io.BytesIO()
    Image.new("RGB", SIDES[::-1], (200, 30, 30)).save(file, form, **options)
    return file.getvalue()


def test_boxes_are_clipped_to_the_picture():
    whole = torch.tensor([[[-0.5, -0.5, 1.5, 0.5]]])
    assert in_pixels(whole, torch.tensor([[0.0, 0, 100, 50]]), torch.tensor([[50.0, 100]])).tolist() == [[[0, 0, 100, 25]]]


def test_the_size_is_that_of_the_picture_as_it_is_displayed():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture_size(encoded("PNG")) == SIDES
    assert picture_size(encoded("JPEG", exif=exif)) == SIDES[::-1]
    with pytest.raises(ValueError, match="the size of the picture cannot be read"):
        picture_size(b"no picture")


@pytest.mark.parametrize("size", [[[5, 4]], [[5, 4], [0, 4]], [[5.5, 4], [3, 4]], "five", [["5", "4"], ["3", "4"]]])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match=r"size: \[2, 2\] whole numbers \(height, width\) of at least 1 are expected"):
        as_sizes(size, 2)


def test_the_best_are_of_queries_with_softmax_and_of_all_pairs_with_sigmoids():
    logits = torch.tensor([[[0.0, 3.0, 1.0], [4.0, 3.9, -9.0], [0.0, 0.0, 9.0]]])
    score, label, query = best(logits, 2, focal=False)
    assert (label.tolist(), query.tolist()) == ([[1, 0]], [[0, 1]])
    assert score[0, 0].item() == pytest.approx(torch.tensor([0.0, 3.0, 1.0]).softmax(0)[1].item())
    score, label, query = best(logits, 3, focal=True)
    assert (label.tolist(), query.tolist()) == ([[2, 0, 1]], [[2, 1, 1]])
    assert score[0].tolist() == pytest.approx(torch.tensor([9.0, 4.0, 3.9]).sigmoid().tolist())


class Session:
    """As the graph: one sure object in the left upper quarter of the window; it keeps its inputs."""

    def run(self, names, inputs):
        self.inputs, count = inputs, len(inputs["image"])
        box = in_pixels(
            torch.tensor([[[0.0, 0.0, 0.5, 0.5]]]).repeat(count, 1, 1), *map(torch.tensor, (inputs["window"], inputs["size"]))
        )
        score, label = np.full((count, 1), 0.9, np.float32), np.ones((count, 1), np.int64)
        found = {"logits": np.zeros((count, 1, 2), np.float32), "boxes": np.zeros((count, 1, 4), np.float32)}
        found |= {"score": score, "label": label, "box": box.numpy()}
        return [found[name] for name in names]


@pytest.fixture
def served(tmp_path, monkeypatch):
    prepared = preparation(fit="pad")
    facts = {"image_size": [32, 48], "channels": 3, "classes": ["cat", "dog"], "masked": True, "levels": 1, "unseen": []}
    (tmp_path / "facts.json").write_text(json.dumps(facts | {"preparation": prepared.to_json()}))
    monkeypatch.setattr("components.families.detr.served.open_session", lambda path: Session())
    return Served(tmp_path)


def test_a_padded_picture_gives_its_mask_to_the_graph_and_its_own_pixels_to_the_caller(served):
    data = encoded("PNG")
    image = served.decode(data)[None]
    answer = served.predict({"image": image, "size": [served.size_of(data)]})
    assert {name: array.tolist() for name, array in answer.items() if name != "boxes" and array.dtype != np.float32} == {
        "labels": [[1]],
        "class_names": [["dog"]],
    }
    mask = served.session.inputs["mask"][0]
    assert np.array_equal(mask, image[0, :, :, 0] == 200), "True where the picture lies"
    left, upper, right, lower = answer["boxes"][0, 0]
    assert (left, upper) == (0, 0)
    assert (right, lower) == pytest.approx((97 / 2, 61 / 2), rel=0.02)
    assert served.predict({"image": image})["boxes"].tolist() == [[[0, 0, 24, 16]]], "in pixels of the image"


def test_no_pictures_give_no_detections_and_other_inputs_are_named(served):
    empty = served.predict({"image": np.zeros((0, 32, 48, 3), np.uint8), "size": np.zeros((0, 2), np.int64)})
    assert [len(array) for array in empty.values()] == [0] * 5
    with pytest.raises(ValueError, match="a mapping with image, and perhaps size, found image, domain"):
        served.predict({"image": np.zeros((1, 32, 48, 3), np.uint8), "domain": [0]})


def test_a_picture_over_http_is_answered_in_its_own_pixels(served):
    from components.registry.scoring.pictures import Predict

    signature = {"inputs": [{"name": "image", "shape": [-1, 32, 48, 3]}, {"name": "size", "shape": [-1, 2]}], "params": []}
    (row,) = Predict(served, signature).predict([("a.png", encoded("PNG"))], {})
    assert (row["file"], row["class_names"]) == ("a.png", ["dog"])
    assert row["boxes"][0][3] == pytest.approx(30.5, rel=0.02)
