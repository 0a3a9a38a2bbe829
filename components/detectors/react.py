"""ReAct (Sun et al. 2021, arXiv 2111.12797): the energy of rectified features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.quantile import streamed_quantile
from components.detectors.shared.reading import checked, rereadable


class ReAct(Fitted):
    """log sum_k exp(W min(x, c) + b)_k, where c is a quantile of all activations of the training images.

    ``quantile`` (0 to 1): p, 0.9 in the paper and in OpenOOD (there of validation images), 0.99 in the ViM authors' code.
    """

    name: ClassVar[str] = "react"
    state_names: ClassVar[tuple[str, ...]] = ("clip", "weight", "bias")
    clip: Tensor  # c, []
    weight: Tensor  # [K, F]
    bias: Tensor  # [K]

    def __init__(self, *, quantile: float = 0.9):
        super().__init__()
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile: {quantile} is not allowed: 0 to 1")
        self.quantile = quantile

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Iterate over the batches three times (five times for float64)."""
        batches = rereadable(batches, self.name)
        clip = streamed_quantile(lambda: (features for features, _, _ in checked(batches, head, self.name)), self.quantile)
        self.store({"clip": clip, "weight": head.weight.double(), "bias": head.bias_or_zero().double()})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, _ = self.ready(features, logits)
        rectified = features.minimum(self.clip.to(features))
        return F.linear(rectified, self.weight.to(features), self.bias.to(features)).logsumexp(1)
