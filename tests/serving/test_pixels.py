"""What a served model takes as pixels: whole numbers from 0 to 255 in the shape of its view."""

import numpy as np
import pytest

from components.serving.pixels import as_labels, as_pixels, from_unit_range, to_unit_range


def image(value, dtype=np.float64):
    return np.full((1, 2, 3, 1), value, dtype)


@pytest.mark.parametrize("value", [0, 255, 255.0])
def test_whole_numbers_of_any_kind_are_pixels(value):
    found = as_pixels(image(value, type(value)), (2, 3), 1)
    assert found.dtype == np.uint8
    assert found.flatten().tolist() == [int(value)] * 6


@pytest.mark.parametrize("value", [256, -1, 0.5, float("nan"), 1e300])
def test_anything_else_is_refused_with_its_range(value):
    with pytest.raises(ValueError, match=r"^image: whole numbers from 0 to 255 are expected, found "):
        as_pixels(image(value), (2, 3), 1)


@pytest.mark.parametrize(("size", "channels"), [((3, 2), 1), ((2, 3), 3), (2, 1)])
def test_another_shape_is_refused(size, channels):
    with pytest.raises(ValueError, match=r"^image: the shape must be \[N, .*, found \[1, 2, 3, 1\]$"):
        as_pixels(image(7), size, channels)


@pytest.mark.parametrize("label", [[2], [-1], [0, 1], [0.0]])
def test_a_label_that_is_no_class_is_refused(label):
    assert as_labels([1], 1, ("a", "b")).tolist() == [1]
    with pytest.raises(ValueError, match=r"^label: 1 whole numbers from 0 to 1 are expected"):
        as_labels(label, 1, ("a", "b"))


def test_the_range_is_that_of_training_and_every_level_comes_back():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    scaled = to_unit_range(pixels)
    assert (scaled.shape, scaled.dtype, scaled.min(), scaled.max()) == ((1, 1, 16, 16), np.float32, -1.0, 1.0)
    np.testing.assert_array_equal(from_unit_range(scaled), pixels)
    assert from_unit_range(np.array([[[[-9.0, 9.0]]]])).flatten().tolist() == [0, 255]
