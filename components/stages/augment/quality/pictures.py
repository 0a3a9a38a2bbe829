"""Odd pictures: blank, dark, bright, elongated, or much smaller than the view."""

from __future__ import annotations

import numpy as np

from components.stages.augment.quality.thumbnails import Thumbnails

BLANK = 6  # levels between the least and the greatest of a thumbnail, in every channel
DARK, BRIGHT = 8, 247  # mean level
ELONGATED = 3  # longer side / shorter side
ENLARGED = 2  # the view's shorter side / the picture's
WORDS = {
    "blank": "one colour",
    "dark": f"mean level below {DARK} of 255",
    "bright": f"mean level above {BRIGHT} of 255",
    "elongated": f"one side over {ELONGATED} times the other",
    "small": f"enlarged over {ENLARGED} times",
}


def odd_pictures(thumbnails: Thumbnails, sizes: np.ndarray, frame: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return fault -> bool [N]. ``sizes`` int [N, 2]: (height, width) in the dataset; ``frame``: of the view."""
    count = thumbnails.small[0].size if len(thumbnails.small) else 1
    spread = thumbnails.small.max(axis=(1, 2)).astype(np.int64) - thumbnails.small.min(axis=(1, 2))
    blank = spread.max(axis=1) < BLANK
    shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
    return {
        "blank": blank,
        "dark": ~blank & (thumbnails.sums < DARK * count),
        "bright": ~blank & (thumbnails.sums > BRIGHT * count),
        "elongated": longer > ELONGATED * shorter,
        "small": shorter * ENLARGED < min(frame),
    }
