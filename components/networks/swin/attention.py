"""Attention within windows: version 1 (Liu et al. 2021, arXiv 2103.14030, eq. 4), 2 (Liu et al. 2022, arXiv 2111.09883)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .windows import Size, Windows, offset_index

BIAS_WIDTH = 512  # hidden units of the bias network
BIAS_RANGE = 16.0  # a bias of version 2 lies in (0, 16)
OFFSET_RANGE = 8.0  # the largest offset, before the logarithm
START_SCALE, MAX_SCALE = 10.0, 100.0  # factor of the cosine, 1 / tau: at the start, and at most


class WindowAttention(nn.Module):
    """Multi-head attention with a learnt bias per offset: [N, L, D] -> [N, L, D]."""

    mask: Tensor | None
    index: Tensor

    def __init__(self, width: int, heads: int, windows: Windows):
        super().__init__()
        self.heads, self.windows = heads, windows
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        rows, columns = windows.size
        self.relative_position_bias_table = nn.Parameter(torch.empty(2 * rows - 1, 2 * columns - 1, heads))
        self.register_buffer("mask", windows.mask(), persistent=False)
        self.register_buffer("index", offset_index(windows.size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = by_head(self.qkv(self.windows.split(x)), self.windows, self.heads)
        scores = biased(by_offset(self.relative_position_bias_table, self.index), self.mask, self.windows)
        mixed = F.scaled_dot_product_attention(query, key, value, scores)
        return self.windows.join(self.proj(joined(mixed, self.heads)))


class CosineWindowAttention(nn.Module):
    """Scaled cosine attention; its bias is a network of the offset on a logarithmic scale: [N, L, D] -> [N, L, D].

    ``trained_window``: the window for whose offsets the bias network was trained, the unit of the offsets.
    """

    mask: Tensor | None
    index: Tensor
    trained_window: Tensor

    def __init__(self, width: int, heads: int, windows: Windows, trained_window: Size):
        super().__init__()
        self.heads, self.windows = heads, windows
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(START_SCALE)))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, BIAS_WIDTH), nn.ReLU(), nn.Linear(BIAS_WIDTH, heads, bias=False))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)
        self.register_buffer("trained_window", torch.tensor(trained_window))
        self.register_buffer("mask", windows.mask(), persistent=False)
        self.register_buffer("index", offset_index(windows.size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(self.windows.split(x), self.qkv.weight, bias)
        query, key, value = by_head(qkv, self.windows, self.heads)
        scale = self.logit_scale.clamp(max=math.log(MAX_SCALE)).exp().repeat(math.prod(self.windows.counts), 1, 1)
        query, key = F.normalize(query, dim=-1) * scale, F.normalize(key, dim=-1)
        scores = biased(self.position_bias(), self.mask, self.windows)
        mixed = F.scaled_dot_product_attention(query, key, value, scores, scale=1.0)
        return self.windows.join(self.proj(joined(mixed, self.heads)))

    def position_bias(self) -> Tensor:
        """16 sigmoid(G(offset)), G the bias network: [heads, T, T]."""
        offsets = log_offsets(self.windows.size, self.trained_window.to(self.logit_scale))
        table = self.cpb_mlp(offsets.flatten(0, 1))  # [offsets, heads]
        return BIAS_RANGE * by_offset(table, self.index).sigmoid()


def log_offsets(size: Size, trained_window: Tensor) -> Tensor:
    """Offsets (down, across) in a window of ``size``: sign(x) log(1 + 8 |x|) / log 8 for x = offset / (window trained - 1).

    [2 rows - 1, 2 columns - 1, 2]: eq. 4, with the authors' normalisation (their code; 0 for windows of a single row).
    """
    down, across = (torch.arange(1 - side, side, device=trained_window.device) for side in size)
    offsets = torch.stack(torch.meshgrid(down, across, indexing="ij"), dim=-1).to(trained_window)
    scaled = OFFSET_RANGE * offsets / (trained_window - 1).clamp(min=1)
    return scaled.sign() * torch.log2(1 + scaled.abs()) / math.log2(OFFSET_RANGE)


def by_offset(table: Tensor, index: Tensor) -> Tensor:
    """Read a table [..., heads] of offsets for every pair of a window: [heads, T, T]."""
    return table.reshape(-1, table.shape[-1])[index].permute(2, 0, 1)


def by_head(qkv: Tensor, windows: Windows, heads: int) -> tuple[Tensor, ...]:
    """[N, windows * T, 3 D] -> query, key and value, each [N, windows * heads, T, D / heads]."""
    split = qkv.unflatten(2, (3, heads, -1)).unflatten(1, (math.prod(windows.counts), -1))  # [N, windows, T, 3, heads, d]
    return split.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)


def joined(mixed: Tensor, heads: int) -> Tensor:
    """Undo ``by_head`` for the values: [N, windows * heads, T, d] -> [N, windows * T, D].

    The copy is for the ONNX exporter: kernels differ in the order of their result in memory, and with a single window torch
    would otherwise record a view that only the traced kernel's order allows.
    """
    by_token = mixed.unflatten(1, (-1, heads)).transpose(2, 3)  # [N, windows, T, heads, d]
    return by_token.clone(memory_format=torch.contiguous_format).flatten(3, 4).flatten(1, 2)


def biased(bias: Tensor, mask: Tensor | None, windows: Windows) -> Tensor:
    """Sum of the bias [heads, T, T] and the mask [windows, T, T]: [1, windows * heads, T, T], the same for all images."""
    if mask is None:
        return bias.repeat(math.prod(windows.counts), 1, 1)[None]
    return (bias + mask[:, None]).flatten(0, 1)[None]
