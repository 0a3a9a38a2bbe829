"""What LIMoE has per modality: embeddings with learnt positions, and heads (Mustafa et al. 2022, section 2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from components.networks.clip.clip_vit import grid_of
from components.networks.clip.text_transformer import end_of
from components.networks.published import Fit
from components.networks.vit import interpolate_positions

POSITIONS = "positional_embedding"


class Tokens(NamedTuple):
    """Tokens [N, L, D] of one modality; ``seen`` bool [N, L]: False for padding. ``mask``: of the attention, None for all."""

    x: Tensor
    seen: Tensor
    mask: Tensor | None


class Patches(nn.Module):
    """Pictures [N, C, H, W] to patches with positions [N, P, D]; ``project``: the head, [N, D] -> [N, embed_dim]."""

    def __init__(self, image_size: int | tuple[int, int], channels: int, patch: int, width: int, embed_dim: int):
        super().__init__()
        self.grid = grid_of(image_size, patch)
        self.num_patches = math.prod(self.grid)
        self.conv1 = nn.Conv2d(channels, width, patch, patch)
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(self.num_patches, width))
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, image: Tensor) -> Tokens:
        x = self.conv1(image).flatten(2).transpose(1, 2) + self.positional_embedding
        return Tokens(x, torch.ones_like(x[:, :, 0], dtype=torch.bool), None)

    def project(self, features: Tensor) -> Tensor:
        return features @ self.proj


class Words(nn.Module):
    """Texts, int64 [N, T], to tokens with positions [N, T, D]; what follows a text's end is padding."""

    def __init__(self, *, num_tokens: int, context: int, end_token: int | None, padding: int, width: int, embed_dim: int):
        super().__init__()
        self.context, self.end_token, self.padding = context, end_token, padding
        self.token_embedding = nn.Embedding(num_tokens, width)
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(context, width))
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tokens:
        """ValueError for another number of tokens than the context's."""
        if tokens.shape[1] != self.context:
            raise ValueError(f"tokens: {tokens.shape[1]} a text, the context length is {self.context}")
        seen = self.seen(tokens)
        return Tokens(self.token_embedding(tokens) + self.positional_embedding, seen, seen[:, None, None])

    def seen(self, tokens: Tensor) -> Tensor:
        """Return what is no padding, bool [N, T]: all up to a text's end."""
        end = end_of(tokens, self.end_token, self.padding)
        return torch.arange(self.context, device=tokens.device) <= end[:, None]

    def project(self, features: Tensor) -> Tensor:
        return features @ self.proj


def mean_of(x: Tensor, seen: Tensor) -> Tensor:
    """Average tokens [N, L, D] over those that are ``seen``: [N, D]."""
    weight = seen.to(x.dtype).unsqueeze(-1)
    return (x * weight).sum(1) / weight.sum(1)


def fit_patches(fit: Fit, grid: tuple[int, int]) -> None:
    """Interpolate the positions of another image size, as ViT does (Dosovitskiy et al. 2021, section 3.2)."""
    key = f"image.{POSITIONS}"
    positions, own = fit.state.get(key), fit.own[key]
    if positions is None or positions.dim() != 2 or positions.shape[0] == own.shape[0]:
        return
    padded = torch.cat([positions[:1], positions])[None]  # where others have the class token's
    grown = f"the file has {positions.shape[0]} patches, this view {own.shape[0]}: interpolated"
    fit.replace(key, interpolate_positions(padded, grid)[0, 1:], "adapted", grown)
