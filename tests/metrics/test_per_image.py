"""Metrics of single images against their definitions."""

import json

import numpy as np
import pytest

from components.metrics.per_image import MAX_PSNR, bits_per_dimension, psnr


def test_psnr_of_a_known_error_and_of_equal_images():
    one = np.zeros((2, 3, 4, 1), np.uint8)
    other = one.copy()
    other[0] = 5
    values = psnr(one, other)
    assert values[0] == pytest.approx(20 * np.log10(255 / 5))
    assert values[1] == MAX_PSNR == 100.0
    assert json.loads(json.dumps(values.mean(), allow_nan=False)) == values.mean()
    with pytest.raises(ValueError, match="are not the same"):
        psnr(one, other[:1])


def test_the_smallest_error_is_below_the_psnr_of_equal_images():
    one = np.zeros((1, 224, 224, 3), np.uint8)
    other = one.copy()
    other[0, 0, 0, 0] = 1
    assert 99 < psnr(one, other)[0] <= MAX_PSNR


def test_a_uniform_model_has_8_bits_per_dimension():
    assert bits_per_dimension(np.array([12 * np.log(256)]), 12)[0] == pytest.approx(8)
