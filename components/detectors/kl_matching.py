"""KL matching (Hendrycks et al. 2022, arXiv 1911.11132)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from components.detectors.shared.fitted import Fitted
from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import checked, require_classes


class KLMatching(Fitted):
    """-min_c KL(p || d_c) with p = softmax(logits) and d_c the mean softmax of the images *predicted* as class c; <= 0.

    A class that is never predicted has no d_c and is ignored. (OpenOOD gives it a one-hot d_c, which is infinitely far from
    every other p; the ViM authors' code yields NaN.)
    """

    name: ClassVar[str] = "kl_matching"
    state_names: ClassVar[tuple[str, ...]] = ("log_templates",)
    log_templates: Tensor  # log d_c, [predicted classes, K]

    def fit(self, batches: Iterable[Sample], head: Head) -> None:
        """Accumulate the sums of the softmax by predicted class."""
        require_classes(head, self.name, "every distribution is the same")
        sums = torch.zeros(head.num_classes, head.num_classes, dtype=torch.float64)
        counts = torch.zeros(head.num_classes, dtype=torch.float64)
        for _, logits, _ in checked(batches, head, self.name):
            predicted = F.one_hot(logits.argmax(1), head.num_classes).double()
            sums = sums.to(logits.device).addmm(predicted.T, logits.double().softmax(1))
            counts = counts.to(logits.device) + predicted.sum(0)
        seen = counts > 0
        templates = sums[seen] / counts[seen, None]
        self.store({"log_templates": templates.clamp(min=torch.finfo(torch.float64).tiny).log()})

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        features, logits = self.ready(features, logits)
        log_p = logits.log_softmax(1)
        p = log_p.exp()
        cross_entropy = -p @ self.log_templates.to(p).T  # [n, predicted classes]
        return -(cross_entropy + (p * log_p).sum(1, keepdim=True)).amin(1)
