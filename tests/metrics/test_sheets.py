"""Images on one page."""

import numpy as np

from components.metrics.sheets import sheet


def test_images_stand_row_by_row_and_small_ones_are_enlarged():
    images = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((5, 24, 24, 1), np.uint8)
    page = sheet(images, columns=3)
    assert page.shape == (2 * 25 * 2, 3 * 25 * 2, 3)
    assert page[24::50, 24::50, 0].tolist() == [[1, 2, 3], [4, 5, 128]]
    assert (page[48:50] == 128).all()


def test_colours_stay_and_large_images_keep_their_size():
    image = np.random.default_rng(0).integers(0, 256, (1, 100, 90, 3), dtype=np.uint8)
    np.testing.assert_array_equal(sheet(image, columns=1)[:100, :90], image[0])
