"""ViM: virtual-logit matching (Wang et al. 2022, arXiv 2203.10807)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.principal import check_dimension, origin, residual_norm, residual_space
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import checked, rereadable


class ViM(Fitted):
    """log sum_k exp(logits_k) - alpha ||R^T (x - o)||, with o and R as in ``principal``. Needs at least F training images.

    alpha = (mean largest logit) / (mean residual norm) over the training images. The mean norm does not follow from the
    second moment, so fit iterates twice: once for R, once for alpha.

    ``dimension``: D of the principal space (1 to F - 1; null: the paper's rule).
    """

    name: ClassVar[str] = "vim"
    state_names: ClassVar[tuple[str, ...]] = ("origin", "space", "alpha")
    origin: Tensor  # o, [F]
    space: Tensor  # R, [F, F - D]
    alpha: Tensor  # []

    def __init__(self, *, dimension: int | None = None):
        super().__init__()
        check_dimension(dimension)
        self.dimension = dimension

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Iterate over the batches twice, in memory F x F."""
        batches = rereadable(batches, self.name)
        point = origin(head)
        space = residual_space(batches, head, self.dimension, self.name)
        alpha = _match(checked(batches, head, self.name), point, space)
        self.store({"origin": point, "space": space, "alpha": alpha})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        return logits.logsumexp(1) - self.alpha.to(features) * residual_norm(features, self.origin, self.space)

    def probability(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return [n]: 1 - the virtual class's probability in softmax([logits, alpha * residual]), which is sigmoid(score)."""
        return self.score(features, logits).sigmoid()


def _match(samples: Iterable[Sample], point: Tensor, space: Tensor) -> Tensor:
    """Compute alpha, float64 []; norms in the dtype of the features, as in ``score``."""
    largest = norms = torch.zeros((), dtype=torch.float64)
    for features, logits, _ in samples:
        wide = features if features.dtype == torch.float64 else features.float()
        largest = largest.to(logits.device) + logits.amax(1).double().sum()
        norms = norms.to(features.device) + residual_norm(wide, point, space).double().sum()
    if largest <= 0:
        raise ValueError(
            "vim: the mean of the largest logits of the training images is not above 0, so that alpha would reward a residual; "
            "use residual or energy instead"
        )
    return largest / norms
