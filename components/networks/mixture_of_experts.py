"""Sparse mixture of MLPs (Riquelme et al. 2021, V-MoE, arXiv 2106.05974): each token goes to one of E experts.

In training an expert takes at most its capacity of tokens, those with the largest gates first (batch priority routing, section
3.1); the others are dropped: the residual branch passes them on. In evaluation no token is dropped, so that the answer for an
image depends on no other image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Dispatch:
    """How tokens are sent in training.

    ``capacity_factor``: tokens that an expert takes, as a multiple of its equal share; None: all. ``groups``: into which the
    pairs of the batch are divided, each with a capacity of its own. ``noise``: layer -> float [N, L, E], added to its logits.
    ``gather``: rows [N, ...] of this process -> those of all processes, in order; ``own``: this process's among them.
    """

    capacity_factor: float | None
    groups: int
    noise: Callable[[int], Tensor]
    gather: Callable[[Tensor], Tensor]
    own: slice


class Routed(NamedTuple):
    """The decision of one layer for tokens [N, L]: ``logits`` and ``noisy`` float [N, L, E], the same without noise.

    ``expert`` int64 [N, L]; ``gate`` float [N, L], the softmax of its noisy logit; ``taken`` bool [N, L], False where a token
    was dropped or is padding.
    """

    logits: Tensor
    noisy: Tensor
    expert: Tensor
    gate: Tensor
    taken: Tensor


class MixtureOfExperts(nn.Module):
    """E MLPs and their router. ``router``: Dense without bias (V-MoE), always in float32."""

    def __init__(self, width: int, hidden: int, experts: int):
        super().__init__()
        self.experts = experts
        self.router = nn.Linear(width, experts, bias=False)
        self.fc_weight = nn.Parameter(torch.empty(experts, hidden, width))
        self.fc_bias = nn.Parameter(torch.zeros(experts, hidden))
        self.proj_weight = nn.Parameter(torch.empty(experts, width, hidden))
        self.proj_bias = nn.Parameter(torch.zeros(experts, width))
        nn.init.normal_(self.router.weight, std=width**-0.5)
        for expert in range(experts):  # each as a dense MLP starts
            nn.init.xavier_uniform_(self.fc_weight[expert])
            nn.init.xavier_uniform_(self.proj_weight[expert])

    def forward(self, x: Tensor, seen: Tensor, dispatch: Dispatch | None = None, layer: int = 0) -> tuple[Tensor, Routed]:
        """Tokens [N, L, D] -> ([N, L, D], 0 for tokens that no expert takes; the decision).

        ``seen`` bool [N, L]: False for padding, which is sent nowhere. ``dispatch``: in training; None: no noise, no capacity.
        """
        routed = self.route(x, seen, dispatch, layer)
        send = self._unsorted if dispatch is None else self._sorted
        return send(x, routed) * routed.gate.to(x.dtype).unsqueeze(-1), routed

    def route(self, x: Tensor, seen: Tensor, dispatch: Dispatch | None, layer: int) -> Routed:
        """Decide for tokens [N, L, D]; in float32 also under autocast."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            logits = F.linear(wide, self.router.weight.to(wide.dtype))
            noisy = logits if dispatch is None else logits + dispatch.noise(layer).to(logits)
            gate, expert = noisy.softmax(-1).max(-1)
            taken = seen if dispatch is None else taken_tokens(gate.detach(), expert, seen, self.experts, dispatch)
        return Routed(logits, noisy, expert, gate, taken)

    def _sorted(self, x: Tensor, routed: Routed) -> Tensor:
        """Send tokens in the order of their experts, so that each expert computes one matrix product."""
        tokens, number = x.flatten(0, 1), self.experts
        place = torch.where(routed.taken, routed.expert, number).flatten()  # the last heap: tokens that nobody takes
        order = place.argsort(stable=True)
        counts = torch.bincount(place, minlength=number + 1).tolist()
        heaps = tokens.index_select(0, order).split(counts)
        done = [mlp(heap, *weights) for heap, weights in zip(heaps[:number], self.weights(), strict=True)]
        rows = torch.cat([*done, torch.zeros_like(heaps[number], dtype=done[0].dtype)])
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return rows.index_select(0, back).view(x.shape)

    def _unsorted(self, x: Tensor, routed: Routed) -> Tensor:
        """The same by indexing, which the exporter of ONNX can follow."""
        tokens = x.flatten(0, 1)
        place = torch.where(routed.taken, routed.expert, self.experts).flatten()
        rows = torch.zeros_like(tokens)
        for expert, weights in enumerate(self.weights()):
            (index,) = torch.nonzero(place == expert, as_tuple=True)
            rows = rows.index_put((index,), mlp(tokens[index], *weights).to(rows.dtype))
        return rows.view(x.shape)

    def weights(self) -> list[tuple[Tensor, ...]]:
        """Return the tensors of each expert; by ``unbind``, whose gradient is one stack and not a sum over the experts."""
        return list(
            zip(*(part.unbind(0) for part in (self.fc_weight, self.fc_bias, self.proj_weight, self.proj_bias)), strict=True)
        )


def mlp(tokens: Tensor, fc_weight: Tensor, fc_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor) -> Tensor:
    """Compute one expert on tokens [M, D] -> [M, D]."""
    return F.linear(F.gelu(F.linear(tokens, fc_weight, fc_bias)), proj_weight, proj_bias)


def taken_tokens(gate: Tensor, expert: Tensor, seen: Tensor, experts: int, dispatch: Dispatch) -> Tensor:
    """Return which of this process's tokens are within their expert's capacity, bool [N, L]; by all tokens of all processes."""
    if dispatch.capacity_factor is None:
        return seen
    packed = torch.stack([gate, torch.where(seen, expert, experts).to(gate.dtype)], dim=-1)
    everyone = dispatch.gather(packed)  # pair by pair: the same order for any number of processes
    grouped = everyone.reshape(dispatch.groups, -1, 2)
    ranks, place = priorities(grouped[..., 0], grouped[..., 1].long(), experts)
    capacity = capacities((place < experts).sum(1), experts, dispatch.capacity_factor)
    taken = (ranks < capacity[:, None]) & (place < experts)
    return taken.view(everyone.shape[:2])[dispatch.own]


def priorities(gate: Tensor, place: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """Return for tokens [G, M] of G groups how many tokens of the same expert have a larger gate (or the same one, earlier).

    ``place`` int64 [G, M]: the expert, or ``experts`` for padding; it is returned too.
    """
    by_gate = gate.argsort(dim=1, descending=True, stable=True)
    order = by_gate.gather(1, place.gather(1, by_gate).argsort(dim=1, stable=True))
    counts = F.one_hot(place, experts + 1).sum(1)
    first = counts.cumsum(1) - counts  # place of each expert's first token in ``order``
    position = torch.arange(place.shape[1], device=place.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, position) - first.gather(1, place)
    return rank, place


def capacities(tokens: Tensor, experts: int, factor: float) -> Tensor:
    """Return how many of ``tokens`` int64 [G] one expert of each group takes: ceil(tokens factor / experts)."""
    return torch.tensor([math.ceil(number * factor / experts) for number in tokens.tolist()], device=tokens.device)
