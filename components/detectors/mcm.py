"""Maximum concept matching (Ming et al. 2022, arXiv 2211.13445): for models that know their classes by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import require_classes


class MCM(Fitted):
    """max_k softmax(cos(features, w_k) / temperature)_k (eq. 1 and 2), w_k the vector of class k. In (0, 1].

    ``temperature``: 1 in the paper; the temperature that the model was trained with makes it the largest probability.
    """

    name: ClassVar[str] = "mcm"
    state_names: ClassVar[tuple[str, ...]] = ("weight",)
    weight: Tensor  # unit rows of the classes, [K, F]

    def __init__(self, *, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature} is not allowed: above 0")
        self.temperature = temperature

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        require_classes(head, self.name, "every image has probability 1")
        self.store({"weight": F.normalize(head.weight.double(), dim=1)})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        cosines = F.normalize(features, dim=1) @ self.weight.to(features).T
        return (cosines / self.temperature).softmax(1).amax(1)
