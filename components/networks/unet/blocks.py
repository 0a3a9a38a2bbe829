"""Residual blocks, attention and time embedding of the U-Net (ADM; Dhariwal & Nichol 2021, arXiv 2105.05233)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QkvOrder = Literal["heads_first", "qkv_first"]


class GroupNorm(nn.GroupNorm):
    """Group normalisation in the dtype of its weights, also under autocast: sums over a group lose digits in bf16.

    The output has the dtype of the input.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x.to(self.weight.dtype), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


class Downsample(nn.Module):
    """[N, C, H, W] -> [N, C, H / 2, W / 2] by a strided convolution, or by 2 x 2 average pooling if not ``learned``."""

    def __init__(self, channels: int, learned: bool = True):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if learned else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """[N, C, H, W] -> [N, C, 2 H, 2 W] by nearest-neighbour interpolation, followed by a convolution if ``learned``."""

    def __init__(self, channels: int, learned: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResBlock(nn.Module):
    """Residual block (BigGAN's): [N, C, H, W], embedding [N, E] -> [N, out, H, W].

    ``resize``: "none", "down" halves or "up" doubles height and width. ``scale_shift``: the embedding gives scale and shift of
    the second normalisation (ADM's adaptive group norm), else it is added.
    """

    def __init__(
        self, channels: int, out: int, embedding: int, *, groups: int, dropout: float, scale_shift: bool, resize: str = "none"
    ):
        super().__init__()
        self.scale_shift = scale_shift
        self.in_layers = nn.Sequential(GroupNorm(groups, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.resize = {"none": nn.Identity(), "down": nn.AvgPool2d(2), "up": nn.Upsample(scale_factor=2.0)}[resize]
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, (2 if scale_shift else 1) * out))
        last = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.out_layers = nn.Sequential(GroupNorm(groups, out), nn.SiLU(), nn.Dropout(dropout), last)
        self.skip_connection = nn.Identity() if out == channels else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        norm, activation, convolution = self.in_layers
        h = convolution(self.resize(activation(norm(x))))
        shift = self.emb_layers(embedding).to(h.dtype)[:, :, None, None]
        if self.scale_shift:
            scale, shift = shift.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + shift)
        return self.skip_connection(self.resize(x)) + h


class CrossAttention(nn.Module):
    """Cross-attention of pixels to a text: [N, C, L], text [N, T, D] with its mask [N, T] -> [N, C, L].

    A learned token is prepended to the text and never masked, so a fully masked text means "no text".
    """

    def __init__(self, channels: int, text_width: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(groups, channels)
        self.null = nn.Parameter(torch.randn(1, 1, text_width) * 0.02)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(text_width, 2 * channels)
        self.proj_out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        text = torch.cat([self.null.expand(x.shape[0], -1, -1).to(text.dtype), text], dim=1)
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)[:, None, None]  # [N, 1, 1, 1 + T]
        query = self.query(self.norm(x).transpose(1, 2)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key_value = self.key_value(text).unflatten(-1, (2, self.heads, -1))  # [N, 1 + T, 2, heads, C / heads]
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # [N, heads, L, C / heads]
        return x + self.proj_out(mixed.transpose(1, 2).flatten(2)).transpose(1, 2)


class AttentionBlock(nn.Module):
    """Self-attention of pixels, then cross-attention to the text if ``text_width`` is given: [N, C, H, W] -> [N, C, H, W].

    ``qkv_order`` is the layout of the projection's rows: "heads_first" is guided-diffusion's default, "qkv_first" its
    ``use_new_attention_order``. Shapes are equal, so loading a checkpoint with the wrong order raises no error.
    """

    def __init__(self, channels: int, *, heads: int, groups: int, qkv_order: QkvOrder, text_width: int | None = None):
        super().__init__()
        self.heads, self.qkv_order = heads, qkv_order
        self.norm = GroupNorm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))
        self.cross = None if text_width is None else CrossAttention(channels, text_width, heads, groups)

    def forward(self, x: Tensor, text: Tensor | None, mask: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        pixels = x.flatten(2)  # [N, C, L]
        qkv = self.qkv(self.norm(pixels))
        if self.qkv_order == "heads_first":
            qkv = qkv.unflatten(1, (self.heads, 3, -1)).transpose(1, 2)
        else:
            qkv = qkv.unflatten(1, (3, self.heads, -1))
        # Contiguous: torch's fused attention on a CPU refuses strided channels and falls back to one that is half as fast.
        query, key, value = qkv.transpose(-1, -2).contiguous().unbind(1)  # each [N, heads, L, C / heads]
        mixed = F.scaled_dot_product_attention(query, key, value)
        pixels = pixels + self.proj_out(mixed.transpose(-1, -2).flatten(1, 2))
        if self.cross is not None:
            assert text is not None
            assert mask is not None
            pixels = self.cross(pixels, text, mask)
        return pixels.unflatten(2, (height, width))


def time_layers(width: int) -> nn.Sequential:
    """MLP from ``time_embedding`` [N, width] to the embedding that blocks receive, [N, 4 width]."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))


def time_embedding(time: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of ``time`` [N] on the scale 0..1000 -> [N, width], float32 or float64 as ``time``.

    Cosines, then sines, of time / 10000^(i / half), i < half = width // 2; a last 0 if ``width`` is odd.
    """
    half = width // 2
    time = time.to(torch.promote_types(time.dtype, torch.float32))
    rates = torch.exp(-math.log(10_000) / half * torch.arange(half, dtype=time.dtype, device=time.device))
    angle = time[:, None] * rates
    return F.pad(torch.cat([angle.cos(), angle.sin()], dim=1), (0, width % 2))


def zeroed(layer: nn.Conv2d | nn.Conv1d | nn.Linear) -> nn.Module:
    """Set weight and bias to 0, so that the residual branch that ends with this layer starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
