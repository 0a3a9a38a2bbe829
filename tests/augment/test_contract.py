"""The contract between data and recipes (``components.core.batch``)."""

from __future__ import annotations

import numpy as np
import torch

from components.core.batch import pixels_of, to_unit_range


def test_pixels_of_accepts_both_forms() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(2, 8, 4, 4)[..., :3].contiguous()
    given = pixels_of({"image": pixels})
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given, pixels.numpy())
    np.testing.assert_array_equal(pixels_of({"image": to_unit_range(pixels)}), pixels.numpy())
