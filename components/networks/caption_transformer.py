"""A small bidirectional pre-norm transformer over the tokens or the words of a caption, for cross-attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING, SPACE = 0, 32  # bytes
LETTERS = 16  # of a word that are told apart by their place; those after it count as the last of them


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


class TokenEmbedding(nn.Embedding):
    """Tokens int64 [N, T] -> (float32 [N, T, D], bool [N, T]: not padding)."""

    def __init__(self, num_tokens: int, width: int):
        super().__init__(num_tokens, width)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(tokens), tokens != PADDING


class WordEmbedding(nn.Module):
    """Bytes -> one vector per word between spaces: the sum of its bytes' vectors, each of which depends on its place there.

    It needs no vocabulary, and knows every word's spelling (compare Kim et al. 2016, arXiv 1508.06615). In a caption's mean a
    word of one letter counts as much as one of six.
    """

    def __init__(self, num_tokens: int, context: int, width: int):
        super().__init__()
        self.words = (context + 1) // 2  # most words of a text of ``context`` bytes
        self.bytes = nn.Embedding(num_tokens * LETTERS, width)
        nn.init.normal_(self.bytes.weight, std=0.02)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [N, T] -> (float32 [N, W, D], bool [N, W]: which words there are)."""
        place = torch.arange(tokens.shape[1], device=tokens.device)
        letter = (tokens != PADDING) & (tokens != SPACE)
        first = letter & ~F.pad(letter, (1, 0))[:, :-1]  # of its word
        number = first.cumsum(1) - 1  # of the word that a letter belongs to
        belongs = (number[..., None] == place[: self.words]) & letter[..., None]  # [N, T, W]
        # Sums of integers: a product of matrices would round places above 256 in bf16.
        starts = (belongs * (first * place)[..., None]).sum(dim=1)  # [N, W]
        in_word = place - (belongs * starts[:, None]).sum(dim=2)
        vectors = self.bytes(tokens * LETTERS + in_word.clamp(0, LETTERS - 1))
        return torch.einsum("ntw,ntd->nwd", belongs.to(vectors.dtype), vectors), belongs.sum(dim=1) > 0


class CaptionTransformer(nn.Module):
    """Tokens -> a vector per token, or per word of bytes, and a mask. Token 0 is padding; padding alone means "no caption"."""

    def __init__(
        self,
        *,
        num_tokens: int,
        context: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 2,
        dropout: float = 0.0,
        words: bool = False,
    ):
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
        self.token_embedding = WordEmbedding(num_tokens, context, width) if words else TokenEmbedding(num_tokens, width)
        self.positions = nn.Parameter(torch.empty(1, context, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.positions, std=0.01)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [N, T], T at most ``context`` -> (float32 [N, S, D], bool [N, S]: not padding) of S tokens or words.

        ValueError for a longer text.
        """
        if tokens.shape[1] > self.context:
            raise ValueError(f"tokens: a text of {tokens.shape[1]} tokens is longer than the context of {self.context}")
        x, mask = self.token_embedding(tokens)
        # Padding attends to itself: a softmax over nothing is 0 in torch and undefined in ONNX Runtime.
        seen = mask[:, None, None, :] | torch.eye(x.shape[1], dtype=torch.bool, device=tokens.device)
        x = x + self.positions[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x, seen)
        return self.norm(x), mask
