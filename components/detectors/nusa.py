"""NuSA: null space analysis (Cook et al. 2020, arXiv 2007.01263), as the ViM paper compares with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.principal import origin
from components.detectors.shared.protocol import Head, Sample


class NuSA(Fitted):
    """sqrt(||z||^2 - ||z_null||^2) / ||z||, z = x - o: the share of z that the classifier's weight sees, 0 to 1.

    That is the cosine of the angle between z and the row space of W. z = 0 scores 0. The training images are not used.
    """

    name: ClassVar[str] = "nusa"
    state_names: ClassVar[tuple[str, ...]] = ("origin", "row_space")
    origin: Tensor  # o, [F]
    row_space: Tensor  # orthonormal basis of the rows of W, [F, rank W]

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        _, values, vectors = torch.linalg.svd(head.weight.double(), full_matrices=False)
        rank = int((values > max(head.weight.shape) * torch.finfo(head.weight.dtype).eps * values[0]).sum())
        if not 0 < rank < head.num_features:
            raise ValueError(
                f"nusa: the weight [{head.num_classes}, {head.num_features}] has rank {rank}, so that "
                f"{'nothing' if rank == 0 else 'all'} of a feature is seen and the score is the same everywhere; use vim"
            )
        self.store({"origin": origin(head), "row_space": vectors[:rank].T})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, _ = self.ready(features, logits)
        z = features - self.origin.to(features)
        seen = torch.linalg.vector_norm(z @ self.row_space.to(z), dim=1)
        return seen / torch.linalg.vector_norm(z, dim=1).clamp(min=torch.finfo(z.dtype).tiny)
