"""Multi-head attention in the layout of ``nn.MultiheadAttention``, and sine positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 10_000.0  # Carion et al. 2020, as Vaswani et al. 2017
EPSILON = 1e-6


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    *,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention: query [N, Q, E], key [N, S, E], value [N, S, V] -> ([N, Q, V], weights [N, Q, S] or None).

    ``mask``: bool, broadcast to [N, heads, Q, S], True where a query may look. ``weights``: also return the attention, the mean
    over the heads; without dropout.
    """
    queries, keys, values = (tensor.unflatten(-1, (num_heads, -1)).transpose(1, 2) for tensor in (query, key, value))
    if not weights:
        result = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        return result.transpose(1, 2).flatten(2), None
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    attention = (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1)
    return (attention @ values).transpose(1, 2).flatten(2), attention.mean(1)


class Attention(nn.Module):
    """Query, key and value by one matrix ``in_proj_weight`` [3 d, d], and a projection of the result."""

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """query [N, Q, d], key and value [N, S, d] -> ([N, Q, d], attention [N, Q, S] or None); see ``attend``."""
        parts = zip((query, key, value), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        q, k, v = (F.linear(tensor, weight, bias) for tensor, weight, bias in parts)
        dropout = self.dropout if self.training else 0.0
        result, attention = attend(q, k, v, self.num_heads, mask=mask, dropout=dropout, weights=weights)
        return self.out_proj(result), attention


class ProjectedAttention(nn.Module):
    """Attention between given projections; only its result is projected. Conditional DETR concatenates two of them."""

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """query [N, Q, E], key [N, S, E], value [N, S, d] -> ([N, Q, d], attention [N, Q, S] or None)."""
        dropout = self.dropout if self.training else 0.0
        result, attention = attend(query, key, value, self.num_heads, mask=mask, dropout=dropout, weights=weights)
        return self.out_proj(result), attention


def sine_embedding(angle: Tensor, dim: int) -> Tensor:
    """Embed angles [...] as ``dim`` interleaved sines and cosines [..., dim] of falling frequency."""
    index = torch.arange(dim // 2, device=angle.device, dtype=angle.dtype)
    phase = angle.unsqueeze(-1) / TEMPERATURE ** (2 * index / dim)
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(-2)


def sine_positions(mask: Tensor, dim: int) -> Tensor:
    """Positions of a map: ``mask`` bool [N, h, w], True where the picture is -> [N, h w, dim], y before x.

    The picture's own extent is scaled to 2 pi, whatever is padded (DETR's code, ``normalize=True``).
    """
    inside = mask.to(torch.get_default_dtype())
    y, x = inside.cumsum(1), inside.cumsum(2)
    y = y / (y[:, -1:, :] + EPSILON) * 2 * math.pi
    x = x / (x[:, :, -1:] + EPSILON) * 2 * math.pi
    return torch.cat([sine_embedding(y, dim // 2), sine_embedding(x, dim // 2)], -1).flatten(1, 2)


def point_embedding(points: Tensor, dim: int) -> Tensor:
    """Embed coordinates [..., D] in [0, 1] -> [..., D dim]; of (x, y, ...) y comes first, as in ``sine_positions``."""
    order = [1, 0, *range(2, points.shape[-1])]
    return sine_embedding(points[..., order] * 2 * math.pi, dim).flatten(-2)
