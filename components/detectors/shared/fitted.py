"""Base module whose buffers are the fitted tensors: they move with ``.to``, have names, and are exported with the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class Fitted(nn.Module):
    """Base class of the detectors. ``state_names``: the names of the fitted tensors."""

    name: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]] = ()
    needs_gradient: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        for name in self.state_names:
            self.register_buffer(name, None)

    def store(self, tensors: Mapping[str, Tensor]) -> None:
        """Store the fitted tensors; a slice is copied, so that the file does not contain its base."""
        assert set(tensors) == set(self.state_names)
        for name in self.state_names:
            self.register_buffer(name, tensors[name].detach().clone(memory_format=torch.contiguous_format))

    def state(self) -> dict[str, Tensor]:
        self._require_fit()
        return dict(self.named_buffers())

    def load(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != set(self.state_names):
            raise ValueError(f"{self.name}: the stored state has {sorted(state)}, wanted {sorted(self.state_names)}")
        self.store(state)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        return self.score(features, logits)

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        raise NotImplementedError

    def ready(self, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Cast both to float32, or to float64 if either is; ValueError before ``fit`` and for inconsistent shapes."""
        self._require_fit()
        if features.dim() != 2 or logits.dim() != 2 or features.shape[0] != logits.shape[0]:
            raise ValueError(
                f"{self.name}: features {list(features.shape)} and logits {list(logits.shape)}; wanted [n, F] and [n, K]"
            )
        double = torch.float64 in (features.dtype, logits.dtype)
        return (features.double(), logits.double()) if double else (features.float(), logits.float())

    def _require_fit(self) -> None:
        if missing := [name for name in self.state_names if getattr(self, name) is None]:
            raise ValueError(f"{self.name}: {', '.join(missing)} not fitted yet; call fit or load first")
