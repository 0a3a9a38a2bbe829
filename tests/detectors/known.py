"""Features of a classifier, and detectors fitted on them."""

from dataclasses import dataclass

from torch import Tensor

from components.core.config.strict import resolve
from components.detectors import DETECTORS
from components.detectors.shared.protocol import Head

OPTIONS = {"knn": {"neighbours": 7}, "react": {"quantile": 0.83}}
BY_FEATURES = sorted(set(DETECTORS) - {"odin"})  # odin scores images


@dataclass(frozen=True)
class Known:
    """Training features, logits, labels, the head, and features and logits to score."""

    features: Tensor
    logits: Tensor
    labels: Tensor
    head: Head
    new: Tensor
    new_logits: Tensor

    def batches(self, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        return list(zip(self.features.split(size), self.logits.split(size), self.labels.split(size), strict=True))


def make_known(features: Tensor, labels: Tensor, head: Head, new: Tensor) -> Known:
    def logits(x: Tensor) -> Tensor:
        return x @ head.weight.T + head.bias_or_zero()

    return Known(features, logits(features), labels, head, new, logits(new))


def make_detector(name: str):
    return resolve(DETECTORS, name, "detector")(**OPTIONS.get(name, {}))


def fitted(name: str, known: Known, size: int = 64):
    detector = make_detector(name)
    detector.fit(known.batches(size), known.head)
    return detector
