"""CLIP's modified ResNet (Radford et al. 2021, arXiv 2103.00020, section 2.4): three convolutions as a stem, strides that are
anti-aliased by average pooling (Zhang 2019, arXiv 1904.11486), and attention as the last pooling. Names are OpenAI's.

As ``clip_resnet`` it is an image classifier that starts from the image tower of a CLIP run or of a published file.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..published import ClassNames, Fitted
from .clip_vit import begin_fit, fit_image_transformer

EXPANSION = 4
REDUCTION = 32  # of the sides, from the image to the last stage
HEAD_WIDTH = 64  # of the attention pooling


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut, pooled where the stride is: [N, C, h, w] -> [N, 4 width, h / s, w / s]."""

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(width, EXPANSION * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * width)
        self.downsample = nn.Sequential()
        if stride > 1 or width_in != EXPANSION * width:
            convolution = nn.Conv2d(width_in, EXPANSION * width, 1, bias=False)
            layers = {"-1": nn.AvgPool2d(stride), "0": convolution, "1": nn.BatchNorm2d(EXPANSION * width)}
            self.downsample = nn.Sequential(OrderedDict(layers))
        nn.init.zeros_(self.bn3.weight)  # every block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = self.avgpool(F.relu(self.bn2(self.conv2(branch))))
        return F.relu(self.bn3(self.conv3(branch)) + self.downsample(x))


class AttentionPooling(nn.Module):
    """One query, the mean of all places, attends to itself and to them: [N, D, h, w] -> [N, embed_dim]."""

    def __init__(self, places: int, width: int, heads: int, embed_dim: int):
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(1 + places, width))
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, embed_dim)
        for layer in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)  # [N, places, D]
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.positional_embedding
        parts = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)  # [N, heads, 1, D / heads]
        return self.c_proj(mixed.transpose(1, 2).flatten(2)).squeeze(1)


class ModifiedResNet(nn.Module):
    """The image tower: float32 [N, C, H, W], standardised -> [N, embed_dim].

    ``blocks``: residual blocks of the four stages; ``width``: channels of the first, the last has 32 times as many.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self, *, image_size: int | tuple[int, int], channels: int, blocks: tuple[int, ...], width: int, embed_dim: int
    ):
        super().__init__()
        sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if any(side % REDUCTION for side in sides):
            raise ValueError(f"blocks: a modified ResNet takes sides that are multiples of {REDUCTION}, not {image_size}")
        if len(blocks) != 4 or min(blocks) < 1:
            raise ValueError(f"blocks: {list(blocks)} is not allowed: four numbers of at least 1")
        if width < 2 or width % 2:
            raise ValueError(f"width: {width} is not allowed: an even number")
        self.grid = (sides[0] // REDUCTION, sides[1] // REDUCTION)
        half, places = width // 2, math.prod(self.grid)
        self.conv1 = nn.Conv2d(channels, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        width_in = width
        for stage, number in enumerate(blocks):
            self.add_module(f"layer{stage + 1}", _stage(width_in, width * 2**stage, number, stride=1 if stage == 0 else 2))
            width_in = EXPANSION * width * 2**stage
        self.attnpool = AttentionPooling(places, width_in, max(1, width_in // HEAD_WIDTH), embed_dim)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, embed_dim]."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.attnpool(x)


class ClipResNet(ModifiedResNet):
    """Image classifier on CLIP's modified ResNet, for images whose sides are multiples of 32.

    ``blocks``: residual blocks of the four stages, [3, 4, 6, 3] for 50 layers; ``width`` (even): channels of the first stage;
    ``embed_dim``: of the pooled features. RN50 of the paper has width 64 and embed_dim 1024.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        embed_dim: int = 1024,
    ):
        super().__init__(image_size=image_size, channels=channels, blocks=blocks, width=width, embed_dim=embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a file's tensors: of this network, of a CLIP run, of OpenAI's or open_clip's CLIP (their image tower).

        Positions of another image size are interpolated; the head starts fresh if the file has none or other classes.
        ValueError lists what does not fit; the weights are then unchanged.
        """
        fit = begin_fit(self, state, names)
        fit_image_transformer(fit, self.grid, "attnpool.")
        return fit.load()


def _stage(width_in: int, width: int, number: int, stride: int) -> nn.Sequential:
    """``number`` residual blocks, the first of which changes width and size."""
    rest = [Bottleneck(EXPANSION * width, width, stride=1) for _ in range(number - 1)]
    return nn.Sequential(Bottleneck(width_in, width, stride), *rest)
