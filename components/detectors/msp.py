"""Maximum softmax probability (Hendrycks and Gimpel 2017, arXiv 1610.02136)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import require_classes


class MSP(Fitted):
    """max_k softmax(logits)_k, in (0, 1]. Nothing is fitted."""

    name: ClassVar[str] = "msp"

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        require_classes(head, self.name, "every image has probability 1")

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        return logits.softmax(1).amax(1)
