"""Distance to the k-th nearest training image (Sun et al. 2022, arXiv 2204.06507)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import checked

CELLS = 1 << 24  # similarities at a time: 64 MiB in float32


class KNN(Fitted):
    """-||z - z_(k)||, z = x / ||x|| and z_(k) the k-th nearest of the training images. OpenOOD squares it.

    ``neighbours``: k (>= 1; paper: 50 for CIFAR-10); ``share``: alpha, of the training images to store (0 to 1), evenly spaced
    in their order. Memory and the exported graph grow with them: 4 bytes x F per image.
    """

    name: ClassVar[str] = "knn"
    state_names: ClassVar[tuple[str, ...]] = ("bank",)
    bank: Tensor  # normalised features of the training images, [images, F], in their own dtype

    def __init__(self, *, neighbours: int = 50, share: float = 1.0):
        super().__init__()
        if neighbours < 1:
            raise ValueError(f"neighbours: {neighbours} is not allowed: at least 1")
        if not 0 < share <= 1:
            raise ValueError(f"share: {share} is not allowed: above 0, at most 1")
        self.neighbours, self.share = neighbours, share

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Iterate over the batches once and store their features."""
        rows, start = [], 0
        for features, _, _ in checked(batches, head, self.name):
            ends = (torch.arange(start, start + features.shape[0] + 1, dtype=torch.float64) * self.share).floor()
            rows.append(_normalised(features[(ends.diff() > 0).to(features.device)]))
            start += features.shape[0]
        bank = torch.cat(rows)
        if len(bank) < self.neighbours:
            raise ValueError(
                f"knn: {len(bank)} images stay (share {self.share:g} of {start}), fewer than neighbours, {self.neighbours}; "
                "choose fewer neighbours or a larger share"
            )
        self.store({"bank": bank})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, _ = self.ready(features, logits)
        z, bank = _normalised(features), self.bank.to(features)
        if torch.compiler.is_exporting():  # a graph has no loop over a number of rows that it does not know
            return self._distance(z, bank)
        rows = max(1, CELLS // bank.shape[0])
        return torch.cat([self._distance(part, bank) for part in z.split(rows)])

    def _distance(self, z: Tensor, bank: Tensor) -> Tensor:
        """Select the k-th neighbour by cosine, then compute its distance directly: 2 - 2 cos would cancel."""
        nearest = (z @ bank.T).topk(self.neighbours, dim=1).indices[:, -1]
        return -torch.linalg.vector_norm(z - bank[nearest], dim=1)


def _normalised(features: Tensor) -> Tensor:
    """Normalise to length 1, at least in float32; a zero vector stays zero."""
    wide = features if features.dtype == torch.float64 else features.float()
    return wide / torch.linalg.vector_norm(wide, dim=1, keepdim=True).clamp(min=torch.finfo(wide.dtype).tiny)
