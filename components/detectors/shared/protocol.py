"""The interface of a detector and the samples that it is fitted on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

Sample = tuple[Tensor, Tensor, Tensor]  # features [n, F], logits [n, K], labels int64 [n] of one batch


@dataclass(frozen=True)
class Head:
    """The classifier's last layer, logits = features W^T + b: ``weight`` W [K, F], ``bias`` b [K], or None for no bias.

    Parameters are detached. ValueError for other shapes and for non-finite values.
    """

    weight: Tensor
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", self.weight.detach())
        object.__setattr__(self, "bias", None if self.bias is None else self.bias.detach())
        if self.weight.dim() != 2:
            raise ValueError(f"head: the weight has shape {list(self.weight.shape)}, wanted [classes, features]")
        if self.bias is not None and self.bias.shape != self.weight.shape[:1]:
            raise ValueError(f"head: the bias has shape {list(self.bias.shape)}, wanted [{self.num_classes}] for this weight")
        if not all(torch.isfinite(part).all() for part in (self.weight, self.bias) if part is not None):
            raise ValueError("head: the weights are not all finite; such a classifier has no scores")

    @property
    def num_classes(self) -> int:
        return self.weight.shape[0]

    @property
    def num_features(self) -> int:
        return self.weight.shape[1]

    def bias_or_zero(self) -> Tensor:
        """Return b [K]; zeros if the layer has no bias."""
        return self.weight.new_zeros(self.num_classes) if self.bias is None else self.bias


class Detector(Protocol):
    """A score of similarity to the training data: **higher means more in-distribution**, for every detector.

    ``fit`` streams the batches and stores nothing of size [number of images, ...] (except ``knn``). ``vim`` and ``react``
    iterate more than once: they need a list, or an object whose ``__iter__`` starts again. The arithmetic is float64, on the
    device of the features; the order and the size of the batches do not matter. ValueError names the batch whose features or
    logits are not finite, and the reason if the score would be meaningless.

    ``score`` maps features [n, F] and logits [n, K] of one dtype to [n], in float64 for float64 inputs and in float32
    otherwise; a NaN affects its own row only. It consists of operations that torch exports to ONNX.

    ``state`` returns the fitted tensors by name (contiguous, float64; {} if nothing is fitted) for a safetensors file;
    ``load`` restores them. All detectors are ``nn.Module``s whose forward is ``score``; ``.float()`` before an export reduces
    the graph's size, and ``.to(device)`` avoids a copy of the state per call.

    ``needs_gradient``: the score needs the network and a gradient of its input (``odin``): use ``score_images``; ``score``
    raises ValueError, and the detector cannot be part of an exported graph.
    """

    name: ClassVar[str]
    needs_gradient: ClassVar[bool]

    def fit(self, batches: Iterable[Sample], head: Head) -> None: ...
    def score(self, features: Tensor, logits: Tensor) -> Tensor: ...
    def state(self) -> dict[str, Tensor]: ...
    def load(self, state: Mapping[str, Tensor]) -> None: ...
