"""ADM's noise-aware classifier: the encoder of its U-Net, then attention pooling (Dhariwal & Nichol 2021, arXiv 2105.05233)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..published import ClassNames, Fit, Fitted
from .blocks import GroupNorm, QkvOrder, time_embedding, time_layers
from .stages import Plan, middle, way_down


class AttentionPool(nn.Module):
    """CLIP's attention pooling, [N, C, H, W] -> [N, out]: the mean pixel attends to itself and to all pixels."""

    def __init__(self, side: int, channels: int, heads: int, out: int):
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(channels, side * side + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out, 1)

    def pooled(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C]."""
        pixels = x.flatten(2)
        pixels = torch.cat([pixels.mean(-1, keepdim=True), pixels], dim=-1) + self.positional_embedding  # [N, C, 1 + H W]
        qkv = self.qkv_proj(pixels).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)  # [N, 3, heads, 1 + H W, C / heads]
        query, key, value = qkv.unbind(1)
        mixed = F.scaled_dot_product_attention(query[:, :, :1], key, value)  # [N, heads, 1, C / heads]
        return mixed.squeeze(2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(x))

    def head(self, pooled: Tensor) -> Tensor:
        """[N, C] -> [N, out]."""
        return self.c_proj(pooled[..., None]).squeeze(-1)


class UNetClassifier(nn.Module):
    """x_t and time -> class logits; the settings are those of ``UNet``, the defaults of ADM.

    ``width``, ``multipliers``, ``blocks``, ``attention``, ``heads``, ``head_width``, ``groups``, ``dropout``, ``scale_shift``,
    ``residual_resize``, ``qkv_order``: as of model unet.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_classes: int,
        width: int = 32,
        multipliers: tuple[int | float, ...] = (1, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        heads: int = 1,
        head_width: int | None = None,
        groups: int = 32,
        dropout: float = 0.0,
        scale_shift: bool = True,
        residual_resize: bool = True,
        qkv_order: QkvOrder = "heads_first",
    ):
        super().__init__()
        assert min(image_size, channels, num_classes) >= 1
        plan = Plan.of(locals())
        count = plan.counts[-1]
        self.width = width
        self.time_embed = time_layers(width)
        self.input_blocks, _ = way_down(plan, channels)
        self.middle_block = middle(plan)
        pool = AttentionPool(plan.sizes[-1], count, plan.heads_of(count), num_classes)
        self.out = nn.Sequential(GroupNorm(groups, count), nn.SiLU(), pool)

    def features(self, x: Tensor, time: Tensor) -> Tensor:
        """The pooled features [N, F] that ``head`` receives; arguments as of ``forward``."""
        embedding = self.time_embed(time_embedding(time, self.width).to(x.dtype))
        for stage in self.input_blocks:
            x = stage(x, embedding)
        pool: Any = self.out[2]
        features: Tensor = pool.pooled(self.out[:2](self.middle_block(x, embedding)))
        return features

    def head(self, features: Tensor) -> Tensor:
        """[N, F] -> logits [N, K], float32 (also under autocast) or float64."""
        pool: Any = self.out[2]
        logits: Tensor = pool.head(features)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x_t [N, C, H, W], time [N] on the scale 0..1000 -> logits [N, K]."""
        return self.head(self.features(x, time))

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load guided-diffusion's tensors, whose names are ours; the last layer starts fresh if the file's classes are others.

        ValueError lists the tensors that do not fit, and no weight is changed then.
        """
        fit = Fit(self, state, names)
        found, expected = (len(tensors.get("out.2.c_proj.bias", ())) for tensors in (fit.state, fit.own))
        fit.fit_classes("out.2.c_proj", found, expected)
        fit.fit_channels("input_blocks.0.0.weight")
        return fit.load()
