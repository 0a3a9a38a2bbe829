"""Maximum logit (Hendrycks et al. 2022, arXiv 1911.11132); OpenOOD's MLS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample


class MaxLogit(Fitted):
    """max_k logits_k. Nothing is fitted."""

    name: ClassVar[str] = "max_logit"

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Do nothing: the score has no fitted state."""

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        return logits.amax(1)
