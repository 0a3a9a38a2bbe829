"""Peak signal-to-noise ratio against its definition."""

import numpy as np
import pytest

from components.metrics.psnr import psnr


def test_psnr_of_a_known_error_and_of_equal_images():
    one = np.zeros((2, 3, 4, 1), np.uint8)
    other = one.copy()
    other[0] = 5
    found = psnr(one, other)
    assert found[0] == pytest.approx(20 * np.log10(255 / 5))
    assert np.isinf(found[1])
    with pytest.raises(ValueError, match="are not the same"):
        psnr(one, other[:1])
