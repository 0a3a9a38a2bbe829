"""What every detector promises, and what it is fitted on."""

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

    Parameters are taken without their gradients. ValueError for other shapes and for numbers that are not finite.
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
        """b [K]; zeros where the layer has none."""
        return self.weight.new_zeros(self.num_classes) if self.bias is None else self.bias


class Detector(Protocol):
    """A score of how far an image looks like the training data: **higher means more in-distribution**, for every detector.

    ``fit`` reads the batches one after the other and keeps nothing of size [number of images, ...] (``knn`` alone must).
    ``vim`` and ``react`` read them more than once: they need a list, or an object whose ``__iter__`` starts again. The
    arithmetic is float64, on the device of the features; the order and the size of the batches do not matter.
    ValueError names the batch whose features or logits are not finite, and whatever makes a score meaningless.

    ``score`` takes features [n, F] and logits [n, K] of one dtype and gives [n], in float64 for float64 and in float32 for
    all else; a NaN that goes in comes out in its own row alone. It consists of operations that torch exports to ONNX.

    ``state`` are the fitted tensors by name (contiguous, float64; {} where nothing is fitted) for a safetensors file;
    ``load`` takes them back. All detectors are ``nn.Module``s whose forward is ``score``; ``.float()`` before an export
    keeps the graph small, and ``.to(device)`` saves a copy of the state a call.

    ``needs_gradient``: the score needs the network itself and a gradient of its input, so it is ``score_images`` that
    works, ``score`` raises ValueError, and it cannot stand in an exported graph (``odin``).
    """

    name: ClassVar[str]
    needs_gradient: ClassVar[bool]

    def fit(self, batches: Iterable[Sample], head: Head) -> None: ...
    def score(self, features: Tensor, logits: Tensor) -> Tensor: ...
    def state(self) -> dict[str, Tensor]: ...
    def load(self, state: Mapping[str, Tensor]) -> None: ...
