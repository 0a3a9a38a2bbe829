"""Exponential moving averages (EMA) of networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float, *, ramp_up: bool) -> float:
    """Return the EMA decay at update ``step``: ``decay``, with ``ramp_up`` at most (1 + step) / (10 + step)."""
    return min(decay, (1 + step) / (10 + step)) if ramp_up else decay


def share_of_start(steps: int, decay: float, *, ramp_up: bool) -> float:
    """Return the weight of the initial weights in the average after ``steps`` updates."""
    return math.prod(decay_at(step, decay, ramp_up=True) for step in range(steps)) if ramp_up else decay**steps


class Averages:
    """Exponential moving averages of ``networks``: a <- decay a + (1 - decay) w after each update; buffers are copied."""

    def __init__(self, networks: Mapping[str, nn.Module], decay: float | None, *, ramp_up: bool = False):
        self.decay, self.ramp_up = decay, ramp_up
        self.live = dict(networks) if decay is not None else {}
        self.averages = {name: copy.deepcopy(network).requires_grad_(False) for name, network in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the averages after update ``step``."""
        if self.decay is None:
            return
        decay = decay_at(step, self.decay, ramp_up=self.ramp_up)
        for name, network in self.live.items():
            averages: list[Tensor] = list(self.averages[name].parameters())
            if averages:
                torch._foreach_lerp_(averages, list(network.parameters()), 1.0 - decay)
            for average, buffer in zip(self.averages[name].buffers(), network.buffers(), strict=True):
                average.copy_(buffer)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Exchange the live weights and buffers with the averages inside the block; no number is copied."""
        pairs = [
            pair
            for name, network in self.live.items()
            for kind in (torch.nn.Module.parameters, torch.nn.Module.buffers)
            for pair in zip(kind(network), kind(self.averages[name]), strict=True)
        ]
        exchange(pairs)
        try:
            yield
        finally:
            exchange(reversed(pairs))  # in this order also for a tensor that two networks share

    @torch.no_grad()
    def swap_in(self) -> None:
        """Replace the live weights by their averages, which are then saved and exported."""
        for name, network in self.live.items():
            network.load_state_dict(self.averages[name].state_dict())

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the averages by network."""
        return {name: network.state_dict() for name, network in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, dict[str, Tensor]]) -> None:
        """Restore the averages from ``state_dict``."""
        for name, network in self.averages.items():
            network.load_state_dict(state[name])


def exchange(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Exchange the storage of the two tensors of each pair, one after the other."""
    for live, average in pairs:
        live.data, average.data = average.data, live.data
