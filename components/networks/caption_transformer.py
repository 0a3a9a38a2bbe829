"""A small bidirectional pre-norm transformer over caption tokens, for cross-attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING = 0


class Block(nn.Module):
    """Pre-norm block: [N, T, D] with a bool mask of visible tokens, broadcast to [N, heads, T, T] -> [N, T, D]."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))  # [N, T, 3, heads, D / heads]
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class CaptionTransformer(nn.Module):
    """Tokens -> one vector per token and a mask. Token 0 is padding; a caption of padding alone means "no caption"."""

    def __init__(self, *, num_tokens: int, context: int, width: int = 64, depth: int = 2, heads: int = 2, dropout: float = 0.0):
        super().__init__()
        for key, value in {
            "num_tokens": num_tokens,
            "context": context,
            "width": width,
            "depth": depth,
            "heads": heads,
        }.items():
            if value < 1:
                raise ValueError(f"{key}: {value} is not allowed: at least 1")
        if width % heads:
            raise ValueError(f"heads: {heads} does not divide width {width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: {dropout} is not allowed: at least 0 and below 1")
        self.context = context
        self.token_embedding = nn.Embedding(num_tokens, width)
        self.positions = nn.Parameter(torch.empty(1, context, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [N, T], T at most ``context`` -> (float32 [N, T, D], bool [N, T]: not padding); else ValueError."""
        if tokens.shape[1] > self.context:
            raise ValueError(f"tokens: a text of {tokens.shape[1]} tokens is longer than the context of {self.context}")
        mask = tokens != PADDING
        # Padding attends to itself: a softmax over nothing is 0 in torch and undefined in ONNX Runtime.
        seen = mask[:, None, None, :] | torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        x = self.token_embedding(tokens) + self.positions[:, : tokens.shape[1]]
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x), mask
