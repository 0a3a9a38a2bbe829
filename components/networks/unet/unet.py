"""DDPM's and ADM's U-Net (Ho et al. 2020, arXiv 2006.11239; Dhariwal & Nichol 2021, arXiv 2105.05233).

Parameter names are guided-diffusion's.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..published import ClassNames, Fit, Fitted, Note
from .blocks import GroupNorm, QkvOrder, time_embedding, time_layers, zeroed
from .stages import Plan, middle, way_down, way_up


class UNet(nn.Module):
    """Denoiser: x_t, time and conditions -> a prediction like x_t.

    ``width``: channels at full size; ``multipliers``: channels of each level as multiples of ``width``; a level has half the
    height and width of the one before. ``blocks``: residual blocks per level. ``attention``: image sizes with self-attention
    (the smallest always has it). ``heads``: heads of the self-attention; ``head_width``: channels of a head instead; None: by
    ``heads``. ``groups``: of GroupNorm. ``dropout`` (0 <= p < 1): in the residual blocks.
    ``scale_shift``: the embedding scales and shifts (ADM), else it is added (DDPM). ``residual_resize``: residual blocks change
    the size (ADM), else convolutions do. ``qkv_order``: see AttentionBlock. ``fourier``: exponents n; sin(2^n pi x_t) and
    cos(2^n pi x_t) become further input channels. (7, 8) lets a likelihood model see the last bits of a pixel (VDM, Kingma et
    al. 2021, arXiv 2107.00630, appendix C).

    Conditions: ``num_classes`` K (labels 0..K-1, -1 for none), ``text_width`` D of the text's vectors, ``low_resolution``: an
    image of any size with the same channels. None, None and False: unconditional. The text reaches the network twice: its
    mean is added to the embedding of time, as a label is, and the attention blocks see every vector (Imagen, Saharia et al.
    2022, arXiv 2205.11487, section 2.3).
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_classes: int | None,
        text_width: int | None,
        low_resolution: bool,
        width: int = 32,
        multipliers: tuple[int | float, ...] = (1, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        heads: int = 1,
        head_width: int | None = None,
        groups: int = 32,
        dropout: float = 0.0,
        scale_shift: bool = False,
        residual_resize: bool = False,
        qkv_order: QkvOrder = "heads_first",
        fourier: tuple[int, ...] = (),
    ):
        super().__init__()
        assert min(image_size, channels) >= 1
        if text_width is not None and text_width < 1:
            raise ValueError(f"text_width: {text_width} is not allowed: at least 1")
        plan = Plan.of(locals())
        self.width, self.text_width, self.low_resolution = width, text_width, low_resolution
        self.time_embed = time_layers(width)
        self.label_emb = None if num_classes is None else nn.Embedding(num_classes, 4 * width)
        self.text_emb = None if text_width is None else TextEmbedding(text_width, 4 * width)
        self.fourier = tuple(fourier)
        self.input_blocks, skipped = way_down(plan, channels * (1 + 2 * len(self.fourier) + low_resolution))
        self.middle_block = middle(plan)
        self.output_blocks = way_up(plan, skipped)
        last = nn.Conv2d(plan.counts[0], channels, 3, padding=1)
        self.out = nn.Sequential(GroupNorm(groups, plan.counts[0]), nn.SiLU(), zeroed(last))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        *,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
        low_resolution: Tensor | None = None,
    ) -> Tensor:
        """x_t [N, C, H, W], time [N] on the scale 0..1000 -> prediction [N, C, H, W] of x_t's dtype; zero before training.

        label int64 [N], -1 for none; text [N, T, D] with text_mask bool [N, T], all False for none; low_resolution
        [N, C, h, w] in [-1, 1]. ValueError if a condition is missing, or given but unknown to the network.
        """
        self._check_conditions(label, text, text_mask, low_resolution)
        embedding = self.time_embed(time_embedding(time, self.width).to(x.dtype))
        if label is not None:
            assert self.label_emb is not None
            embedding = embedding + self.label_emb(label.clamp(min=0)) * (label >= 0)[:, None]
        if text is not None:
            assert self.text_emb is not None
            embedding = embedding + self.text_emb(text, text_mask)
        h, skipped = self._input_channels(x, low_resolution), []
        for stage in self.input_blocks:
            h = stage(h, embedding, text, text_mask)
            skipped.append(h)
        h = self.middle_block(h, embedding, text, text_mask)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skipped.pop()], dim=1), embedding, text, text_mask)
        return self.out(h).to(x.dtype)

    def _input_channels(self, x: Tensor, low_resolution: Tensor | None) -> Tensor:
        """Concatenate x_t, its Fourier features, and the low-resolution image enlarged to x_t's size."""
        angles = [2**n * math.pi * x for n in self.fourier]
        channels = [x, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))]
        if low_resolution is not None:
            channels.append(F.interpolate(low_resolution, size=x.shape[2:], mode="bilinear"))
        return torch.cat(channels, dim=1)

    def _check_conditions(
        self, label: Tensor | None, text: Tensor | None, text_mask: Tensor | None, low_resolution: Tensor | None
    ) -> None:
        built = {
            "label": self.label_emb is not None,
            "text": self.text_width is not None,
            "low_resolution": self.low_resolution,
        }
        given = {"label": label is not None, "text": text is not None, "low_resolution": low_resolution is not None}
        for name, expected in built.items():
            if expected != given[name]:
                state, how = ("missing", "with") if expected else ("given", "without")
                raise ValueError(f"{name}: {state}, but this network was built {how} it")
        if (text is None) != (text_mask is None):
            raise ValueError("text and text_mask: one is given without the other")

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load guided-diffusion's tensors, whose names are ours: see ``fit_published``.

        ValueError lists the tensors that do not fit, and no weight is changed then.
        """
        return self.fit_published(state, names).load()

    def fit_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fit:
        """Fit a file's tensors to this network's outputs and conditions.

        Learned variances (twice the output channels) are dropped. A condition that this network does not have is left out; one
        that the file does not have, and embeddings of other classes, start fresh.
        """
        fit = Fit(self, state, names)
        ends = ("out.2.weight", "out.2.bias")
        if all(key in fit.state and len(fit.state[key]) == 2 * len(fit.own[key]) for key in ends):
            fit.state.update({key: fit.state[key][: len(fit.own[key])] for key in ends})
            fit.notes.append(VARIANCES)
        fit_label(fit)
        fit_text(fit)
        fit_low_resolution(fit, self.low_resolution)
        return fit


class TextEmbedding(nn.Module):
    """Normalised mean of a text's vectors [N, T, D] that the mask [N, T] shows, projected to [N, E]; 0 where it shows none."""

    def __init__(self, text_width: int, width: int):
        super().__init__()
        self.norm, self.proj = nn.LayerNorm(text_width), nn.Linear(text_width, width, bias=False)

    def forward(self, text: Tensor, mask: Tensor) -> Tensor:
        shown = mask.to(text.dtype)
        mean = torch.einsum("ntd,nt->nd", text, shown) / shown.sum(dim=1, keepdim=True).clamp(min=1)
        embedding: Tensor = self.proj(self.norm(mean)) * mask.any(dim=1, keepdim=True)
        return embedding


VARIANCES = Note("left_out", "out.2", "the file predicts variances too, this network does not: left out")
FIRST = "input_blocks.0.0.weight"


def fit_label(fit: Fit) -> None:
    """Fit the embedding of classes."""
    found, expected = (len(tensors.get("label_emb.weight", ())) for tensors in (fit.state, fit.own))
    if expected:
        fit.fit_classes("label_emb", found, expected, none="no classes")
    else:
        fit.leave_out("label_emb", ["label_emb.weight"], f"the file has {found} classes, which are no condition of this run")


def fit_text(fit: Fit) -> None:
    """Fit the attention to a text, and the text's part of the embedding."""
    for name, place in (("cross", ".cross."), ("text_emb", "text_emb.")):
        found, expected = ([key for key in tensors if place in key] for tensors in (fit.state, fit.own))
        if expected and not found:
            fit.start_fresh(name, "the file knows no texts there", expected)
        elif not expected:
            fit.leave_out(name, found, "the file knows texts, which are no condition of this run")


def fit_low_resolution(fit: Fit, wanted: bool) -> None:
    """Fit the first convolution, whose last input channels are those of the low-resolution image."""
    kernel, own, channels = fit.state.get(FIRST), fit.own[FIRST], fit.own["out.2.bias"].numel()
    if kernel is None or kernel.dim() != own.dim():
        return
    more = kernel.shape[1] - own.shape[1]
    if more == channels and not wanted:
        fit.replace(FIRST, kernel[:, :-channels], "left_out", "the low-resolution image, no condition of this run: left out")
    elif more == -channels and wanted:
        whole = torch.cat([kernel, own[:, -channels:]], dim=1)
        fit.replace(FIRST, whole, "fresh", "the file knows no low-resolution image: its channels start fresh")
