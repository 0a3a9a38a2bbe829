"""Moving averages of networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Averages:
    """Exponential moving averages of ``networks``: a <- decay a + (1 - decay) w after each update; buffers are copied."""

    def __init__(self, networks: Mapping[str, nn.Module], decay: float | None):
        self.decay = decay
        self.live = dict(networks) if decay is not None else {}
        self.kept = {name: copy.deepcopy(network).requires_grad_(False) for name, network in self.live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in."""
        for name, network in self.live.items():
            assert self.decay is not None
            averages: list[Tensor] = list(self.kept[name].parameters())
            if averages:
                torch._foreach_lerp_(averages, list(network.parameters()), 1.0 - self.decay)
            for kept, buffer in zip(self.kept[name].buffers(), network.buffers(), strict=True):
                kept.copy_(buffer)

    @torch.no_grad()
    def swap_in(self) -> None:
        """Put the averages where the live weights are: what is saved and exported."""
        for name, network in self.live.items():
            network.load_state_dict(self.kept[name].state_dict())

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The averages, by network."""
        return {name: network.state_dict() for name, network in self.kept.items()}

    def load_state_dict(self, state: Mapping[str, dict[str, Tensor]]) -> None:
        """The inverse of ``state_dict``."""
        for name, network in self.kept.items():
            network.load_state_dict(state[name])
