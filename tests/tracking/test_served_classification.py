"""The served classifier, against the formula written out in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest

from components.families.classification.served import Served
from components.serving.loading import load_served


@pytest.fixture
def served(export: Path) -> Served:
    return Served(export)


def pixels(images: int) -> np.ndarray:
    return np.random.default_rng(images).integers(0, 256, (images, 4, 4, 1), dtype=np.uint8)


def test_label_probability_and_name_are_those_of_the_formula(served: Served):
    image = pixels(5)
    weights = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)  # as in conftest
    logits = (image.reshape(5, 16) / 127.5 - 1) @ weights.astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = served.predict({"image": image})
    np.testing.assert_array_equal(found["label"], softmax.argmax(1))
    np.testing.assert_allclose(found["probability"], softmax.max(1), rtol=1e-5)
    assert [["zero", "one", "two"][i] for i in found["label"]] == list(found["class_name"])
    assert (found["label"].dtype, found["probability"].dtype, found["class_name"].dtype.kind) == (np.int64, np.float32, "U")


def test_scores_gives_logits_and_features_of_images_in_minus_one_to_one(served: Served):
    scores = served.scores(np.stack([np.zeros((4, 4, 1), np.uint8), np.full((4, 4, 1), 255, np.uint8)]))
    np.testing.assert_array_equal(scores["features"], np.stack([np.full(16, -1.0), np.full(16, 1.0)]))
    assert scores["logits"].shape == (2, 3)


def test_an_empty_batch_gives_empty_answers_of_the_same_types(served: Served):
    empty, one = served.predict({"image": pixels(0)}), served.predict({"image": pixels(1)})
    assert {name: (array.shape, array.dtype.kind) for name, array in empty.items()} == {
        name: ((0,), array.dtype.kind) for name, array in one.items()
    }


def test_whole_numbers_of_another_dtype_are_the_same_pixels(served: Served):
    image = pixels(2)
    for dtype in (np.int64, np.float32):
        np.testing.assert_array_equal(served.scores(image.astype(dtype))["logits"], served.scores(image)["logits"])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((1, 4, 4, 1), 300), "0 to 255 are expected, found 300"),
        (np.full((1, 4, 4, 1), -1), "found -1"),
        (np.full((1, 4, 4, 1), 0.5), "whole numbers"),
        (np.full((1, 4, 4, 1), np.nan), "whole numbers"),
        (np.full((1, 4, 4, 1), "7"), "numbers .uint8. are expected"),
        (np.full((1, 4, 4, 1), True), "found bool"),
        (np.zeros((1, 5, 4, 1), np.uint8), r"\[N, 4, 4, 1\], found \[1, 5, 4, 1\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"found \[1, 4, 4, 3\]"),
        (np.zeros((4, 4, 1), np.uint8), r"found \[4, 4, 1\]"),
    ],
)
def test_anything_but_pixels_is_refused_in_plain_words(served: Served, image: np.ndarray, words: str):
    with pytest.raises(ValueError, match=words):
        served.predict({"image": image})


def test_other_inputs_and_parameters_are_refused(served: Served):
    with pytest.raises(ValueError, match="one key 'image', found picture"):
        served.predict({"picture": pixels(1)})
    with pytest.raises(ValueError, match="takes none, found guidance"):
        served.predict({"image": pixels(1)}, {"guidance": 2})


def test_loading_leaves_nothing_in_the_folder(export: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    before = sorted(export.rglob("*"))
    assert load_served(export).classes.tolist() == ["zero", "one", "two"]
    assert sorted(export.rglob("*")) == before
    assert not sys.dont_write_bytecode
