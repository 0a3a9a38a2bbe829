"""DETR's transformer (Carion et al. 2020, section A.3, Figure 10): post-norm encoder and decoder, positions at every layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.families.detr.network.attention import Attention


@dataclass(frozen=True)
class Memory:
    """What the decoder looks at. ``tokens``, ``positions`` [N, S, d]; ``mask`` bool [N, 1, 1, S], True in the picture."""

    tokens: Tensor
    positions: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class Queries:
    """What the decoder starts from: ``content`` and ``positions`` [N, Q, d].

    ``reference``: [N, Q', 2], known centres of the first Q' queries, or None; ``mask``: bool [N, 1, Q, Q], True where a query
    may look at another, or None.
    """

    content: Tensor
    positions: Tensor
    reference: Tensor | None = None
    mask: Tensor | None = None


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each added and normalised."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.self_attn = Attention(dim, num_heads, dropout)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Memory, *, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Tokens [N, S, d] -> ([N, S, d], attention [N, S, S] or None); ``memory`` has the positions and the mask."""
        placed = x + memory.positions
        attended, attention = self.self_attn(placed, placed, x, memory.mask, weights=weights)
        x = self.norm1(x + self.dropout(attended))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))), attention


class Encoder(nn.Module):
    """``num_layers`` encoder layers."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers))

    def forward(self, memory: Memory, *, weights: bool = False) -> tuple[Memory, Tensor | None]:
        """Encode the tokens; ``weights``: also return the last layer's attention [N, S, S]."""
        x, attention = memory.tokens, None
        for index, layer in enumerate(self.layers):
            x, attention = layer(x, memory, weights=weights and index + 1 == len(self.layers))
        return Memory(x, memory.positions, memory.mask), attention


class DecoderLayer(nn.Module):
    """Attention among queries, from queries to the memory, and a feed-forward network, each added and normalised."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.self_attn = Attention(dim, num_heads, dropout)
        self.multihead_attn = Attention(dim, num_heads, dropout)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, queries: Queries, memory: Memory, *, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Queries [N, Q, d] -> ([N, Q, d], attention to the memory [N, Q, S] or None)."""
        placed = x + queries.positions
        x = self.norm1(x + self.dropout(self.self_attn(placed, placed, x, queries.mask)[0]))
        attended, attention = self.multihead_attn(
            x + queries.positions, memory.tokens + memory.positions, memory.tokens, memory.mask, weights=weights
        )
        x = self.norm2(x + self.dropout(attended))
        return self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))), attention


class Decoder(nn.Module):
    """``num_layers`` decoder layers; every layer's result, normalised, goes to the heads."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, queries: Queries, memory: Memory, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return (hidden [layers, N, Q, d], None: there are no reference points, the last attention [N, Q, S] or None)."""
        x, hidden, attention = queries.content, [], None
        for index, layer in enumerate(self.layers):
            x, attention = layer(x, queries, memory, weights=weights and index + 1 == len(self.layers))
            hidden.append(self.norm(x))
        return torch.stack(hidden), None, attention
