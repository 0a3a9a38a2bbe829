"""Odd pictures: each fault has its limit, and a blank picture is neither dark nor bright."""

import numpy as np

from components.stages.augment.quality.pictures import odd_pictures
from components.stages.augment.quality.thumbnails import thumbnails


def test_every_fault_has_its_limit():
    def levels(low, high):
        return np.where(np.indices((16, 16)).sum(0) % 2, low, high)[..., None].astype(np.uint8)

    cases = [  # levels, (height, width) in the dataset, faults
        ((100, 105), (32, 32), {"blank"}),
        ((100, 106), (32, 32), set()),
        ((0, 0), (32, 32), {"blank"}),
        ((0, 15), (32, 32), {"dark"}),
        ((0, 16), (32, 32), set()),
        ((240, 255), (32, 32), {"bright"}),
        ((239, 255), (32, 32), set()),
        ((0, 255), (96, 32), set()),
        ((0, 255), (97, 32), {"elongated"}),
        ((0, 255), (32, 97), {"elongated"}),
        ((0, 255), (20, 16), set()),
        ((0, 255), (20, 15), {"small"}),
    ]
    images = np.stack([levels(*each) for each, _, _ in cases])
    found = odd_pictures(thumbnails(images), np.array([size for _, size, _ in cases]), (40, 32))
    assert [{fault for fault, rows in found.items() if rows[index]} for index in range(len(cases))] == [c[2] for c in cases]
