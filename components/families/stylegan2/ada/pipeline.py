"""Adaptive discriminator augmentation (ADA; Karras et al. 2020, arXiv 2006.06676): its pipeline and its probability.

The paper's "blit", "geometry" and "color" (appendix B) are here; its filtering and corruption are in ``corruption``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from components.families.stylegan2.ada.resampling import resample

UNIFORM, NORMAL = 22, 8  # random numbers per image of each kind
COINS = {"blit": (1, 3, 6), "geometry": (7, 9, 10, 12, 13), "color": (14, 15, 17, 19, 20)}  # columns that choose


def adaptive_augment(
    image: Tensor,
    probability: Tensor,
    uniform: Tensor,
    normal: Tensor,
    *,
    kinds: Sequence[str] = tuple(COINS),
    resampling: str = "wavelet",
) -> Tensor:
    """Apply each transformation of ``kinds`` with ``probability`` [] to image [N, C, H, W].

    ``uniform`` [N, 22], ``normal`` [N, 8]: random numbers. ``resampling``: "wavelet" is the paper's; "bilinear" is one
    interpolation with mirrored borders, cheaper and softer.
    """
    uniform = without(uniform, [column for kind, columns in COINS.items() if kind not in kinds for column in columns])
    if "blit" in kinds or "geometry" in kinds:
        transform = geometry(probability, uniform[:, :14], normal[:, :4], image.shape[2], image.shape[3])
        image = resample(image, transform) if resampling == "wavelet" else bilinear(image, transform)
    if "color" not in kinds:
        return image
    matrix = colours(probability, uniform[:, 14:], normal[:, 4:]).to(image.dtype)
    return apply_colours(image, matrix)


def without(uniform: Tensor, columns: Sequence[int]) -> Tensor:
    """The numbers with 1 in ``columns``, so that these coins choose nothing."""
    if not columns:
        return uniform
    uniform = uniform.clone()
    uniform[:, list(columns)] = 1.0
    return uniform


def bilinear(image: Tensor, transform: Tensor) -> Tensor:
    """Sample the image where ``transform`` [N, 3, 3] says."""
    grid = F.affine_grid(transform[:, :2].to(image.dtype), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def geometry(probability: Tensor, uniform: Tensor, normal: Tensor, height: int, width: int) -> Tensor:
    """Inverse transformation [N, 3, 3] in coordinates of [-1, 1]: where in the image each pixel comes from.

    In order: mirror, quarter turns, whole-pixel shift (up to 1/8); scale 2^N(0, 0.2^2), turn, stretch, turn, shift
    N(0, (1/8)^2). Turns have probability 1 - sqrt(1 - p) each, so that one of the two happens with p.
    """
    one = torch.ones_like(uniform[:, 0])
    turn_probability = 1 - torch.sqrt((1 - probability).clamp(min=0))

    def chosen(value: Tensor, neutral: float, coin: int, p: Tensor = probability) -> Tensor:
        return torch.where(uniform[:, coin] < p, value, neutral * one)

    mirror = chosen(torch.where(uniform[:, 0] < 0.5, -one, one), 1.0, 1)
    quarter = chosen((uniform[:, 2] * 4).floor(), 0.0, 3) * (math.pi / 2)
    right, down = (
        chosen(((uniform[:, 4 + axis] * 2 - 1) * size / 8).round() * 2 / size, 0.0, 6)
        for axis, size in ((0, width), (1, height))
    )
    scale = chosen(2 ** (normal[:, 0] * 0.2), 1.0, 7)
    first = chosen((uniform[:, 8] * 2 - 1) * math.pi, 0.0, 9, turn_probability)
    stretch = chosen(2 ** (normal[:, 1] * 0.2), 1.0, 10)
    second = chosen((uniform[:, 11] * 2 - 1) * math.pi, 0.0, 12, turn_probability)
    x, y = (chosen(normal[:, 2 + axis] / 4, 0.0, 13) for axis in (0, 1))  # an eighth of the side is 1/4 of [-1, 1]
    steps = [
        scaling(1 / mirror, one),
        rotation(-quarter, width / height),
        shift(-right, -down),
        scaling(1 / scale, 1 / scale),
        rotation(-first, width / height),
        scaling(1 / stretch, stretch),
        rotation(-second, width / height),
        shift(-x, -y),
    ]
    whole = steps[0]
    for step in steps[1:]:
        whole = whole @ step
    return whole


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """[N], [N] -> [N, 3, 3]."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def shift(x: Tensor, y: Tensor) -> Tensor:
    """[N], [N] -> [N, 3, 3]."""
    matrix = torch.eye(3, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1)
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def rotation(angle: Tensor, aspect: float = 1.0) -> Tensor:
    """angle [N] in radians -> [N, 3, 3]; ``aspect``: width / height of the image, whose coordinates are both [-1, 1]."""
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.eye(3, dtype=angle.dtype, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cos, -sin / aspect, sin * aspect, cos
    return matrix


def colours(probability: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Colour transformation [N, 4, 4] of (r, g, b, 1).

    In order: brightness N(0, 0.2^2), contrast 2^N(0, 0.5^2), luma flip, hue U(-pi, pi), saturation 2^N(0, 1).
    """
    one, zero = torch.ones_like(uniform[:, 0]), torch.zeros_like(uniform[:, 0])
    eye = torch.eye(4, dtype=uniform.dtype, device=uniform.device)

    def chosen(value: Tensor, neutral: Tensor, coin: int) -> Tensor:
        return torch.where(uniform[:, coin] < probability, value, neutral)

    brightness = eye.repeat(len(one), 1, 1)
    brightness[:, :3, 3] = chosen(normal[:, 0] * 0.2, zero, 0)[:, None]
    contrast = chosen(2 ** (normal[:, 1] * 0.5), one, 1)
    diagonal = torch.diag_embed(torch.stack([contrast, contrast, contrast, one], 1))
    axis = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=uniform.dtype, device=uniform.device) / math.sqrt(3)
    luma = torch.outer(axis, axis)
    flip = eye - 2 * luma * chosen((uniform[:, 2] < 0.5).to(one.dtype), zero, 3)[:, None, None]
    hue = turned_about(axis[:3], chosen((uniform[:, 4] * 2 - 1) * math.pi, zero, 5))
    saturation = chosen(2 ** normal[:, 2], one, 6)[:, None, None]
    return (luma + (eye - luma) * saturation) @ hue @ flip @ diagonal @ brightness


def turned_about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation of (r, g, b) about ``axis`` [3] by ``angle`` [N] (Rodrigues): [N, 4, 4]."""
    x, y, z = axis.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=angle.dtype, device=angle.device)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    matrix = torch.eye(4, dtype=angle.dtype, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = torch.eye(3, dtype=angle.dtype, device=angle.device) + sin * cross + (1 - cos) * (cross @ cross)
    return matrix


def apply_colours(image: Tensor, matrix: Tensor) -> Tensor:
    """Apply ``matrix`` [N, 4, 4] to the pixels of RGB images; of grey ones its mean over the colours."""
    if image.shape[1] == 3:
        return torch.einsum("nij,njhw->nihw", matrix[:, :3, :3], image) + matrix[:, :3, 3, None, None]
    rows = matrix[:, :3].mean(1)
    return image * rows[:, :3].sum(1)[:, None, None, None] + rows[:, 3][:, None, None, None]


def adjusted(probability: Tensor, sign: Tensor, *, target: float, images: int, speed: int, most: float) -> Tensor:
    """The probability after an interval: up if r_t = ``sign`` is above ``target``, else down, by images / speed (section 3.2).

    ``sign``: the mean of sign(D) on the interval's real images; ``images``: their number; ``speed``: images from 0 to 1.
    """
    return (probability + torch.sign(sign - target) * (images / speed)).clamp(0.0, most)
