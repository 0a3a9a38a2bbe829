"""Mahalanobis distance to the nearest class (Lee et al. 2018, arXiv 1807.03888); OpenOOD's MDS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.gaussian import class_moments, nearest_squared_distance, whitening
from components.detectors.shared.protocol import Head, Sample


class Mahalanobis(Fitted):
    """-min_c (x - mu_c)^T S^-1 (x - mu_c): mu_c the mean of true class c, S the covariance about these means (eq. 1 and 2).

    Uses the last features, without the paper's input step and sum over layers. S divides by the number of images; if singular
    it is replaced by its pseudo-inverse. Classes without images are ignored. Needs at least F training images.
    """

    name: ClassVar[str] = "mahalanobis"
    state_names: ClassVar[tuple[str, ...]] = ("centre", "whitening", "means")
    centre: Tensor  # mean of all images, [F]: subtracted before whitening for accuracy in float32
    whitening: Tensor  # A, [F, r] with A A^T = S^-1
    means: Tensor  # (mu_c - centre) A, [C, r]

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Iterate over the batches once, in memory F x F."""
        moments = class_moments(batches, head, self.name)
        centre, _ = moments.total()
        white = whitening(moments.scatter / moments.counts.sum(), moments.power())
        self.store({"centre": centre, "whitening": white, "means": (moments.means - centre) @ white})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, _ = self.ready(features, logits)
        white = (features - self.centre.to(features)) @ self.whitening.to(features)
        return -nearest_squared_distance(white, self.means.to(features))
