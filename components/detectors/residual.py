"""Residual: distance of the features to the principal space (Wang et al. 2022, arXiv 2203.10807)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.principal import check_dimension, origin, residual_norm, residual_space
from components.detectors.shared.protocol import Head, Sample


class Residual(Fitted):
    """-||R^T (x - o)||, with o and R as in ``principal``. Needs at least F training images.

    ``dimension``: D of the principal space (1 to F - 1; null: the paper's rule).
    """

    name: ClassVar[str] = "residual"
    state_names: ClassVar[tuple[str, ...]] = ("origin", "space")
    origin: Tensor  # o, [F]
    space: Tensor  # R, [F, F - D]

    def __init__(self, *, dimension: int | None = None):
        super().__init__()
        check_dimension(dimension)
        self.dimension = dimension

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Iterate over the batches once, in memory F x F."""
        space = residual_space(batches, head, self.dimension, self.name)
        self.store({"origin": origin(head), "space": space})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, _ = self.ready(features, logits)
        return -residual_norm(features, self.origin, self.space)
