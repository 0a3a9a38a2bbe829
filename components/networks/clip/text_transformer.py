"""CLIP's transformers (Radford et al. 2021, arXiv 2103.00020, section 2.4): the blocks of both towers, and the text tower.

Parameter names are those of OpenAI's files.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..published import Fit

Activation = Literal["quick_gelu", "gelu"]
TOKENS = "token_embedding.weight"
POSITIONS = "positional_embedding"


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), of OpenAI's weights; open_clip's own trainings have the exact GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention: [N, T, D] -> [N, T, D]; with ``causal`` a token sees itself and those before it.

    ``mask``: bool, broadcast to [N, heads, T, T], True for what is seen; None: all.
    """

    def __init__(self, width: int, heads: int, *, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [N, heads, T, D / heads]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=self.causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm residual block: [N, T, D] -> [N, T, D]. ``dropout``: on both branches, none in the paper."""

    def __init__(self, width: int, heads: int, activation: Activation, dropout: float, *, causal: bool):
        super().__init__()
        self.attn = Attention(width, heads, causal=causal)
        self.ln_1 = nn.LayerNorm(width)
        gelu = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": gelu, "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attn(self.ln_1(x)))
        return x + self.dropout(self.mlp(self.ln_2(x)))


class Transformer(nn.Module):
    """Blocks in a row: [N, T, D] -> [N, T, D]. ValueError, which names the argument, for sizes that do not fit together."""

    def __init__(self, width: int, depth: int, heads: int, activation: Activation, dropout: float, *, causal: bool):
        super().__init__()
        for key, value in {"width": width, "depth": depth, "heads": heads}.items():
            if value < 1:
                raise ValueError(f"{key}: {value} is not allowed: at least 1")
        if width % heads:
            raise ValueError(f"heads: {heads} does not divide width {width}")
        if activation not in ("quick_gelu", "gelu"):
            raise ValueError(f"activation: {activation!r} is not allowed: quick_gelu, gelu")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: {dropout} is not allowed: at least 0 and below 1")
        self.resblocks = nn.Sequential(*(Block(width, heads, activation, dropout, causal=causal) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.resblocks(x)


class TextTransformer(nn.Module):
    """The text tower: tokens int64 [N, T] -> [N, embed_dim], read at the end of the text.

    ``end_token``: the token at which a text is read, at its first place; None: at the last token that is not ``padding``, as
    for plain bytes. The causal mask keeps what follows out of it.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        context: int,
        embed_dim: int,
        width: int,
        depth: int,
        heads: int,
        activation: Activation = "quick_gelu",
        dropout: float = 0.0,
        end_token: int | None = None,
        padding: int = 0,
    ):
        super().__init__()
        self.context, self.end_token, self.padding = context, end_token, padding
        self.transformer = Transformer(width, depth, heads, activation, dropout, causal=True)
        self.token_embedding = nn.Embedding(num_tokens, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        _initialise(self, width, depth)

    def forward(self, tokens: Tensor) -> Tensor:
        """ValueError for another number of tokens than the context's."""
        if tokens.shape[1] != self.context:
            raise ValueError(f"tokens: {tokens.shape[1]} a text, the context length is {self.context}")
        x = self.ln_final(self.transformer(self.token_embedding(tokens) + self.positional_embedding))
        end = self.end_of(tokens)[:, None, None].expand(-1, 1, x.shape[2])
        return x.gather(1, end).squeeze(1) @ self.text_projection

    def end_of(self, tokens: Tensor) -> Tensor:
        """Return the place at which each text is read, int64 [N]; 0 for a text without one."""
        return end_of(tokens, self.end_token, self.padding)


def end_of(tokens: Tensor, end_token: int | None, padding: int) -> Tensor:
    """Return the place of each end in tokens [N, T], int64 [N]: of the first ``end_token``, or of the last real token."""
    if end_token is not None:
        return (tokens == end_token).to(torch.int32).argmax(1)
    places = torch.arange(tokens.shape[1], device=tokens.device)
    return (places * (tokens != padding)).amax(1)


@torch.no_grad()
def _initialise(tower: TextTransformer, width: int, depth: int) -> None:
    """Draw the published start (openai/CLIP): deviations by width, and by depth for the ends of residual branches."""
    nn.init.normal_(tower.token_embedding.weight, std=0.02)
    nn.init.normal_(tower.positional_embedding, std=0.01)
    nn.init.normal_(tower.text_projection, std=width**-0.5)
    end = width**-0.5 * (2 * depth) ** -0.5
    stds = {"in_proj_weight": width**-0.5, "out_proj.weight": end, "c_fc.weight": (2 * width) ** -0.5, "c_proj.weight": end}
    for name, parameter in tower.transformer.named_parameters():
        for suffix, std in stds.items():
            if name.endswith(suffix):
                nn.init.normal_(parameter, std=std)


def fit_text_tower(fit: Fit, tower: nn.Module) -> None:
    """Fit what a file has of the module ``text`` of a network of pictures and texts, as ``fit_text`` does."""
    text = Fit(tower, {key[5:]: tensor for key, tensor in fit.state.items() if key.startswith("text.")})
    fit_text(text)
    joined = Fit.of_parts(fit.model, {"text": text})
    fit.state |= joined.state
    fit.changed |= joined.changed
    fit.notes += joined.notes


def fit_text(fit: Fit) -> None:
    """Fit a file's text tower to another vocabulary (its embedding starts fresh) and to another context length."""
    tokens, own = fit.state.get(TOKENS), fit.own[TOKENS]
    if tokens is not None and tokens.shape[0] != own.shape[0]:
        fit.start_fresh("token_embedding", f"the file has {tokens.shape[0]} tokens, this view {own.shape[0]}")
    positions, length = fit.state.get(POSITIONS), fit.own[POSITIONS].shape[0]
    if positions is None or positions.shape[0] == length:
        return
    counts = f"the file has {positions.shape[0]} text positions, this view {length}"
    if positions.shape[0] > length:
        fit.replace(POSITIONS, positions[:length], "adapted", f"{counts}: the first are taken")
    else:
        longer = F.interpolate(positions.float().T[None], size=length, mode="linear", align_corners=True)[0].T
        fit.replace(POSITIONS, longer.to(positions.dtype), "adapted", f"{counts}: interpolated")
