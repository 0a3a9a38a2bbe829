"""The graphs of an exported CLIP: one per tower."""

from __future__ import annotations

from torch import Tensor, nn

from components.contrastive.objective import unit
from components.families.clip.networks import CLIP


class ImageEncoder(nn.Module):
    """image [N, C, H, W] in [-1, 1] -> (embedding: unit rows [N, D], features [N, F], before the projection)."""

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIP, mean: Tensor, std: Tensor):
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.clip.visual.features((image - self.mean) / self.std)
        return unit(self.clip.visual.project(features)), features


class TextEncoder(nn.Module):
    """tokens int64 [N, T] -> unit rows [N, D]."""

    def __init__(self, clip: CLIP):
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        return self.clip.embed_text(tokens)
