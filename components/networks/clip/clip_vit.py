"""CLIP's image transformer (Radford et al. 2021, arXiv 2103.00020, section 2.4): ViT with a norm before its blocks.

As ``clip_vit`` it is an image classifier that starts from the image tower of a CLIP run or of a published file. Parameter names
are OpenAI's; unlike ``vit`` the patches have no bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..published import ClassNames, Fit, Fitted
from ..vit import interpolate_positions
from .text_transformer import Activation, Transformer

POSITIONS = "positional_embedding"
TEXT = "text tower and temperature, no part of an image tower"


class VisionTransformer(nn.Module):
    """The tower without its projection: image [N, C, H, W] -> the class token after its norm, [N, width]."""

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        activation: Activation,
        dropout: float,
    ):
        super().__init__()
        self.grid = grid_of(image_size, patch)
        self.num_patches = math.prod(self.grid)
        self.conv1 = nn.Conv2d(channels, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(1 + self.num_patches, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, depth, heads, activation, dropout, causal=False)
        self.ln_post = nn.LayerNorm(width)

    def features(self, image: Tensor, kept: Tensor | None = None) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, width].

        ``kept``: int64 [N, k], the patches that are not dropped (Li et al. 2023, arXiv 2212.00794); None: all.
        """
        patches = self.conv1(image).flatten(2).transpose(1, 2) + self.positional_embedding[1:]
        if kept is not None:
            patches = patches.gather(1, kept[:, :, None].expand(-1, -1, patches.shape[2]))
        token = (self.class_embedding + self.positional_embedding[0]).expand(image.shape[0], 1, -1)
        x = self.ln_pre(torch.cat([token, patches], dim=1))
        return self.ln_post(self.transformer(x)[:, 0])


class ClipViT(VisionTransformer):
    """Image classifier on CLIP's image transformer.

    ``patch``: side of a patch in pixels, divides height and width. ``width``: of a token; ``depth``: blocks; ``heads``: of the
    attention, a divisor of the width; ViT-B/32 has 768, 12 and 12. ``activation``: "quick_gelu" for OpenAI's weights, "gelu"
    (exact) for open_clip's. ``dropout`` (0 <= p < 1): on the residual branches.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        patch: int = 4,
        width: int = 128,
        depth: int = 4,
        heads: int = 2,
        activation: Activation = "quick_gelu",
        dropout: float = 0.0,
    ):
        shape = {"image_size": image_size, "channels": channels, "patch": patch, "width": width}
        super().__init__(**shape, depth=depth, heads=heads, activation=activation, dropout=dropout)  # type: ignore[arg-type]
        self.head = nn.Linear(width, num_classes)
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
        fit.leave_out("proj", ["proj"], "the projection to CLIP's embedding")
        fit_image_transformer(fit, self.grid)
        return fit.load()


def grid_of(image_size: int | tuple[int, int], patch: int) -> tuple[int, int]:
    """Return how many patches an image has: rows, columns. ValueError for a patch that does not divide its sides."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f"patch: {patch} does not divide the image size {image_size}")
    return height // patch, width // patch


def begin_fit(model: nn.Module, state: Mapping[str, Tensor], names: ClassNames | None) -> Fit:
    """Begin to fit an image tower to a classifier with the layers ``head`` and ``conv1``; other towers are left out."""
    inside = {key: key.rpartition("visual.")[2] for key in state if key.startswith("visual.") or ".visual." in key}
    fit = Fit(model, state, names)
    if inside:
        fit.leave_out("text", [key for key in state if key not in inside], TEXT)
        fit.state = {inside[key]: tensor for key, tensor in fit.state.items()}
    found, expected = (tensors["head.bias"].numel() if "head.bias" in tensors else 0 for tensors in (fit.state, fit.own))
    fit.fit_classes("head", found, expected)
    fit.fit_channels("conv1.weight")
    return fit


def fit_image_transformer(fit: Fit, grid: tuple[int, int], prefix: str = "") -> None:
    """Interpolate the positions of another image size, as ViT does (Dosovitskiy et al. 2021, section 3.2)."""
    key = f"{prefix}{POSITIONS}"
    positions, own = fit.state.get(key), fit.own[key]
    if positions is None or positions.dim() != 2 or positions.shape[0] == own.shape[0]:
        return
    grown = f"the file has {positions.shape[0] - 1} patches, this view {own.shape[0] - 1}: interpolated"
    fit.replace(key, interpolate_positions(positions[None], grid)[0], "adapted", grown)
