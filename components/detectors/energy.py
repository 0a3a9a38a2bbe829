"""Energy (Liu et al. 2020, arXiv 2010.03759); OpenOOD's EBO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample


class Energy(Fitted):
    """-E(x) = T log sum_k exp(logits_k / T), eq. 4. Nothing is fitted. ``temperature``: T (> 0)."""

    name: ClassVar[str] = "energy"

    def __init__(self, *, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature} is not allowed: above 0")
        self.temperature = temperature

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Do nothing: the score has no fitted state."""

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        return self.temperature * (logits / self.temperature).logsumexp(1)
