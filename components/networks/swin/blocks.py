"""Blocks, patches and stages of both versions. Parameter names are timm's; tokens are [N, L, D], row by row."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from ..vit import Mlp, stochastic_depth
from .attention import CosineWindowAttention, WindowAttention
from .windows import Size, Windows


class PreNormBlock(nn.Module):
    """Block of version 1 (eq. 3): each branch normalises its input."""

    def __init__(self, width: int, heads: int, hidden: int, windows: Windows, *, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, windows)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden, "gelu", 0.0)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + stochastic_depth(self.attn(self.norm1(x)), self.drop_path, self.training)
        return x + stochastic_depth(self.mlp(self.norm2(x)), self.drop_path, self.training)


class PostNormBlock(nn.Module):
    """Block of version 2 (section 3.2, res-post-norm): each branch normalises its output, by norms that start at 0."""

    def __init__(self, width: int, heads: int, hidden: int, windows: Windows, *, drop_path: float, trained_window: Size):
        super().__init__()
        self.attn = CosineWindowAttention(width, heads, windows, trained_window)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden, "gelu", 0.0)
        self.norm2 = nn.LayerNorm(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + stochastic_depth(self.norm1(self.attn(x)), self.drop_path, self.training)
        return x + stochastic_depth(self.norm2(self.mlp(x)), self.drop_path, self.training)


class PatchMerging(nn.Module):
    """Join 2 x 2 neighbours, one linear map: [N, rows * columns, D] -> [N, (rows / 2)(columns / 2), 2 D], rounded up.

    Neighbours are read column by column, as in the authors' weights. Version 1 normalises before the map, version 2 after it.
    """

    def __init__(self, width: int, grid: Size, *, norm_first: bool):
        super().__init__()
        self.grid, self.norm_first = grid, norm_first
        self.norm = nn.LayerNorm(4 * width if norm_first else 2 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.grid
        x = F.pad(x.unflatten(1, self.grid), (0, 0, 0, columns % 2, 0, rows % 2))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # [N, rows / 2, 2, columns / 2, 2, D]
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3, 5).flatten(1, 2)
        return self.reduction(self.norm(x)) if self.norm_first else self.norm(self.reduction(x))


class Stage(nn.Module):
    """Patch merging, but in the first stage, and blocks: [N, D, h, w] -> [N, D', h', w']."""

    def __init__(self, grid: Size, downsample: nn.Module, blocks: Iterable[nn.Module]):
        super().__init__()
        self.grid = grid
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.blocks(self.downsample(x.flatten(2).transpose(1, 2)))
        return tokens.transpose(1, 2).unflatten(2, self.grid)


class PatchEmbedding(nn.Module):
    """Non-overlapping patches, one linear map and a norm: [N, C, H, W] -> [N, D, H / patch, W / patch], rounded up."""

    def __init__(self, channels: int, width: int, patch: int, padding: Size):
        super().__init__()
        self.padding = padding
        self.proj = nn.Conv2d(channels, width, patch, patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.proj(F.pad(image, (0, self.padding[1], 0, self.padding[0])))
        tokens = self.norm(patches.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, patches.shape[2:])
