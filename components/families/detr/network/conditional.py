"""Conditional DETR's decoder (Meng et al. 2021, arXiv 2108.06152): content and spatial queries, each with keys of its own.

The spatial query is the sine embedding of a reference point, scaled by a vector that the layer's content predicts (eq. 6): each
head looks for one extremity of a box, and training converges about seven times sooner.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.families.detr.network.attention import ProjectedAttention, point_embedding
from components.families.detr.network.transformer import Memory, Queries


class MLP(nn.Module):
    """Linear layers with ReLU between them; ``dims``: of the input and of each layer."""

    def __init__(self, *dims: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(x) if index + 1 == len(self.layers) else F.relu(layer(x))
        return x


class ConditionalLayer(nn.Module):
    """A decoder layer. Queries and keys of the cross-attention are [content, position] of each head, 2 d wide together."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, *, first: bool):
        super().__init__()
        self.num_heads = num_heads
        for name in ("qcontent", "qpos", "kcontent", "kpos", "v"):
            self.add_module(f"sa_{name}_proj", nn.Linear(dim, dim))
        self.self_attn = ProjectedAttention(dim, num_heads, dropout)
        for name in ("qcontent", *(["qpos"] if first else []), "kcontent", "kpos", "v", "qpos_sine"):
            self.add_module(f"ca_{name}_proj", nn.Linear(dim, dim))
        self.cross_attn = ProjectedAttention(dim, num_heads, dropout)
        self.linear1, self.linear2 = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout, self.first = nn.Dropout(dropout), first

    def forward(
        self, x: Tensor, spatial: Tensor, queries: Queries, memory: Memory, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Queries [N, Q, d], their scaled sine embedding ``spatial`` [N, Q, d] -> ([N, Q, d], attention [N, Q, S] or None)."""
        x = self.norm1(x + self.dropout(self._among_queries(x, queries)))
        attended, attention = self._to_memory(x, spatial, queries, memory, weights)
        x = self.norm2(x + self.dropout(attended))
        return self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))), attention

    def _among_queries(self, x: Tensor, queries: Queries) -> Tensor:
        query = self._project("sa_qcontent", x) + self._project("sa_qpos", queries.positions)
        key = self._project("sa_kcontent", x) + self._project("sa_kpos", queries.positions)
        result: Tensor = self.self_attn(query, key, self._project("sa_v", x), queries.mask)[0]
        return result

    def _to_memory(
        self, x: Tensor, spatial: Tensor, queries: Queries, memory: Memory, weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        query, key = self._project("ca_qcontent", x), self._project("ca_kcontent", memory.tokens)
        key_position = self._project("ca_kpos", memory.positions)
        if self.first:
            query, key = query + self._project("ca_qpos", queries.positions), key + key_position
        query = self._side_by_side(query, self._project("ca_qpos_sine", spatial))
        key = self._side_by_side(key, key_position)
        value = self._project("ca_v", memory.tokens)
        result: tuple[Tensor, Tensor | None] = self.cross_attn(query, key, value, memory.mask, weights=weights)
        return result

    def _project(self, name: str, x: Tensor) -> Tensor:
        projected: Tensor = self.get_submodule(f"{name}_proj")(x)
        return projected

    def _side_by_side(self, content: Tensor, position: Tensor) -> Tensor:
        """Concatenate each head's content and position: two of [N, T, d] -> [N, T, 2 d]."""
        heads = [tensor.unflatten(-1, (self.num_heads, -1)) for tensor in (content, position)]
        return torch.cat(heads, -1).flatten(-2)


class ConditionalDecoder(nn.Module):
    """``num_layers`` layers; a reference point per query, predicted from its position, or given for denoising queries."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float, num_layers: int):
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(
            ConditionalLayer(dim, num_heads, ffn_dim, dropout, first=index == 0) for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.query_scale = MLP(dim, dim, dim)
        self.ref_point_head = MLP(dim, dim, 2)

    def forward(
        self, queries: Queries, memory: Memory, *, weights: bool = False
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return (hidden [layers, N, Q, d], reference points [N, Q, 2] in [0, 1], the last attention [N, Q, S] or None)."""
        given = queries.reference
        free = queries.positions if given is None else queries.positions[:, given.shape[1] :]
        reference = self.ref_point_head(free).sigmoid()
        reference = reference if given is None else torch.cat([given.to(reference.dtype), reference], 1)
        sine = point_embedding(reference, self.dim // 2)
        x, hidden, attention = queries.content, [], None
        for index, layer in enumerate(self.layers):
            spatial = sine if index == 0 else sine * self.query_scale(x)
            x, attention = layer(x, spatial, queries, memory, weights=weights and index + 1 == len(self.layers))
            hidden.append(self.norm(x))
        return torch.stack(hidden), reference, attention
