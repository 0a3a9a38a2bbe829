"""Published means and deviations, which are of pixels in [0, 1], for the images of a batch, which are in [-1, 1]."""

from __future__ import annotations

import pytest

from components.core.batch import ViewFacts
from components.core.standardise import standardisation


@pytest.mark.parametrize(
    ("which", "mean", "std"),
    [
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision, models' transforms
        # openai/CLIP, clip.py, _transform
        ("openai", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ],
)
def test_the_published_mean_is_0_and_a_deviation_more_is_1(which: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    view = ViewFacts("v", 8, 3, {}, (0.1,) * 3, (0.2,) * 3, {}, "d")
    ours, scale = standardisation(which, view)
    for channel in range(3):
        for pixel, standard in ((mean[channel], 0.0), (mean[channel] + std[channel], 1.0)):
            in_batch = 2 * pixel - 1
            assert (in_batch - ours[channel]) / scale[channel] == pytest.approx(standard, abs=1e-12)
