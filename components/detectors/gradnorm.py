"""GradNorm (Huang et al. 2021, arXiv 2110.00218) of the last layer, in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import require_classes


class GradNorm(Fitted):
    """The L1 norm of the gradient of KL(u || softmax(logits / T)) with respect to the last layer's weight, u uniform.

    With p = softmax(logits / T) and logits = W x + b the gradient is (p - u) x^T / T, of rank one, so its L1 norm is
    ||p - u||_1 ||x||_1 / T (the paper's V and U). Published code sums over the K classes instead of
    averaging: K times as large, the same order. Nothing is fitted. ``temperature``: T (> 0).
    """

    name: ClassVar[str] = "gradnorm"

    def __init__(self, *, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature} is not allowed: above 0")
        self.temperature = temperature

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        require_classes(head, self.name, "the gradient is 0 everywhere")

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        probability = (logits / self.temperature).softmax(1)
        deviation = (probability - 1 / logits.shape[1]).abs().sum(1)
        return deviation * features.abs().sum(1) / self.temperature
