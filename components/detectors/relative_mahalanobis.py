"""Relative Mahalanobis distance (Ren et al. 2021, arXiv 2106.09022); OpenOOD's RMDS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.gaussian import class_moments, nearest_squared_distance, whitening
from components.detectors.shared.protocol import Head, Sample


class RelativeMahalanobis(Fitted):
    """-min_c (d_c - d_0): d_c as in ``mahalanobis``, d_0 the squared distance to one Gaussian of all images.

    ValueError for labels of one class, for which both are equal. Needs at least F training images.
    """

    name: ClassVar[str] = "relative_mahalanobis"
    state_names: ClassVar[tuple[str, ...]] = ("centre", "whitening", "means", "background")
    centre: Tensor  # mean of all images, [F]
    whitening: Tensor  # A, [F, r], of the covariance about the class means
    means: Tensor  # (mu_c - centre) A, [C, r]
    background: Tensor  # [F, r_0], the same as A of the covariance about the mean of all images

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Iterate over the batches once, in memory F x F."""
        moments = class_moments(batches, head, self.name)
        if len(moments.counts) < 2:
            raise ValueError(f"{self.name}: the images are all of one class, so the score is 0 everywhere; use mahalanobis")
        centre, total = moments.total()
        count = moments.counts.sum()
        white = whitening(moments.scatter / count, moments.power())
        means = (moments.means - centre) @ white
        background = whitening(total / count, moments.power())
        self.store({"centre": centre, "whitening": white, "means": means, "background": background})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, _ = self.ready(features, logits)
        centred = features - self.centre.to(features)
        to_class = nearest_squared_distance(centred @ self.whitening.to(centred), self.means.to(centred))
        return (centred @ self.background.to(centred)).square().sum(1) - to_class
