"""DDPM's and ADM's U-Net (Ho et al. 2020, arXiv 2006.11239; Dhariwal & Nichol 2021, arXiv 2105.05233).

Parameter names are guided-diffusion's.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .published import load_fitting
from .unet_blocks import GroupNorm, QkvOrder, time_embedding, time_layers, zeroed
from .unet_stages import make_plan, middle, way_down, way_up


class UNet(nn.Module):
    """x_t and the time -> a prediction like x_t.

    ``width``: channels at full size; ``multipliers``: of the width, a level, each half the size of the one before; ``blocks``:
    residual blocks a level; ``attention``: image sizes at which pixels attend (the middle always does), with ``heads``, or
    heads of ``head_width`` channels. ``groups``: of GroupNorm. ``scale_shift``: the embedding scales and shifts (ADM), else is
    added (DDPM). ``residual_resize``: sizes change in residual blocks (ADM), else in convolutions. ``qkv_order``: see
    AttentionBlock. ``fourier``: exponents n whose sin(2^n pi x_t) and cos(2^n pi x_t) are channels too: (7, 8) shows a
    likelihood model the last bits of a pixel (VDM, Kingma et al. 2021, arXiv 2107.00630, appendix C).

    Conditions: ``num_classes`` K (labels 0..K-1, -1 for none), ``text_width`` D of a text's vectors, ``low_resolution``: an
    image of any size with the same channels. None, None and False: unconditional.
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
        multipliers: tuple[int, ...] = (1, 2, 2),
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
        plan = make_plan(
            image_size=image_size,
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            heads=heads,
            head_width=head_width,
            groups=groups,
            dropout=dropout,
            scale_shift=scale_shift,
            residual_resize=residual_resize,
            qkv_order=qkv_order,
            text_width=text_width,
        )
        self.width, self.text_width, self.low_resolution = width, text_width, low_resolution
        self.time_embed = time_layers(width)
        self.label_emb = None if num_classes is None else nn.Embedding(num_classes, 4 * width)
        self.fourier = tuple(fourier)
        self.input_blocks, kept = way_down(plan, channels * (1 + 2 * len(self.fourier) + low_resolution))
        self.middle_block = middle(plan)
        self.output_blocks = way_up(plan, kept)
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
        """x_t float32 [N, C, H, W], time [N] on the scale 0..1000 -> float32 [N, C, H, W]; zero before training.

        label int64 [N], -1 for none; text [N, T, D] with text_mask bool [N, T], all False for none; low_resolution
        [N, C, h, w] in [-1, 1]. ValueError where a condition and the network do not agree.
        """
        self._check_conditions(label, text, text_mask, low_resolution)
        embedding = self.time_embed(time_embedding(time, self.width))
        if label is not None:
            assert self.label_emb is not None
            embedding = embedding + self.label_emb(label.clamp(min=0)) * (label >= 0)[:, None]
        h, kept = self._seen(x, low_resolution), []
        for stage in self.input_blocks:
            h = stage(h, embedding, text, text_mask)
            kept.append(h)
        h = self.middle_block(h, embedding, text, text_mask)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, kept.pop()], dim=1), embedding, text, text_mask)
        return self.out(h).float()

    def _seen(self, x: Tensor, low_resolution: Tensor | None) -> Tensor:
        """x_t, its Fourier features, and the low-resolution image at x_t's size, as channels."""
        angles = [2**n * math.pi * x for n in self.fourier]
        seen = [x, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))]
        if low_resolution is not None:
            seen.append(F.interpolate(low_resolution, size=x.shape[2:], mode="bilinear"))
        return torch.cat(seen, dim=1)

    def _check_conditions(
        self, label: Tensor | None, text: Tensor | None, text_mask: Tensor | None, low_resolution: Tensor | None
    ) -> None:
        built = {
            "label": self.label_emb is not None,
            "text": self.text_width is not None,
            "low_resolution": self.low_resolution,
        }
        given = {"label": label is not None, "text": text is not None, "low_resolution": low_resolution is not None}
        for name, has in built.items():
            if has != given[name]:
                found, meant = ("missing", "with") if has else ("given", "without")
                raise ValueError(f"{name}: {found}, but this network was built {meant} it")
        if (text is None) != (text_mask is None):
            raise ValueError("text and text_mask: one is given without the other")

    @staticmethod
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """guided-diffusion's layout is ours: a copy of the dict, nothing renamed."""
        return dict(state)

    def load_published(self, state: dict[str, Tensor]) -> list[str]:
        """Load guided-diffusion's tensors; returns notes on what was not taken as it stands.

        Learned variances (twice the output channels) are left out. Label vectors start fresh where the number of classes
        differs. ValueError lists what does not fit; the weights are then unchanged.
        """
        state, notes = self.from_published(state), []
        own = self.state_dict()
        ends = ("out.2.weight", "out.2.bias")
        if all(key in state and len(state[key]) == 2 * len(own[key]) for key in ends):
            state.update({key: state[key][: len(own[key])] for key in ends})
            notes.append("out.2: the file predicts variances too, this network does not: left out")
        key = "label_emb.weight"
        if key in own and (key not in state or state[key].shape != own[key].shape):
            found = f"{len(state[key])} classes" if key in state else "no classes"
            state[key] = own[key]
            notes.append(f"label_emb: the file has {found}, this view {len(own[key])}: starts fresh")
        load_fitting(self, state)
        return notes
