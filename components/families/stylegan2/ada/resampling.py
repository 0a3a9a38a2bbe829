"""Resample images under a transformation without aliasing (Karras et al. 2020, arXiv 2006.06676, appendix B, "Geometric").

The image is padded by reflection, doubled in size through the low-pass of an orthonormal wavelet, sampled bilinearly at twice
the size, and halved through the same filter. The filters of one wavelet at even shifts are orthonormal, so the identity changes
nothing.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Low-pass of the symlet with 6 vanishing moments: Daubechies 1992, "Ten Lectures on Wavelets", table 6.3.
SYM6 = (
    *(0.015404109327044783, 0.003490712084222088, -0.11799011114851972, -0.048311742585697516, 0.4910559419279741),
    *(0.7876411410286506, 0.3379294217281654, -0.07263752278637645, -0.021060292512370772, 0.04472490177078135),
    *(0.0017677118642539763, -0.007800708325032381),
)
REACH = len(SYM6) // 4  # pixels of the image that the filter reaches beyond a pixel
CENTRE = len(SYM6) // 2 - 1  # the tap around which the symlet is nearly symmetric: it has an even number
LATE = 0.25  # pixels by which doubled samples therefore lie behind the places that they have in a grid of twice the size


def resample(image: Tensor, inverse: Tensor) -> Tensor:
    """image [N, C, H, W], ``inverse`` [N, 3, 3] in coordinates of [-1, 1]: where each pixel comes from -> [N, C, H, W].

    The padding is as wide as the batch needs, at most the side less a pixel; beyond it is 0.
    """
    height, width = image.shape[2:]
    sizes = inverse.new_tensor([width, height])
    margins = padding(inverse, sizes)
    x, y = (min(margin, size - 1) for margin, size in zip(margins, (width, height), strict=True))
    rows, columns = (as_tensor(doubling(size, margin), image) for size, margin in ((height, y), (width, x)))
    doubled = rows @ image @ columns.T
    seen = 1 / (1 + 2 * inverse.new_tensor([x, y]) / sizes)  # from coordinates of the image to those of the padded one
    asked = 1 + 2 * REACH / sizes  # from coordinates of the result, with its border for the filter, to those of the image
    one, late = inverse.new_ones(1), torch.eye(3, dtype=inverse.dtype, device=inverse.device)
    late[:2, 2] = 2 * LATE / sizes
    matrix = torch.cat([seen, one])[:, None] * (late.inverse() @ inverse @ late) * torch.cat([asked, one])
    shape = [*image.shape[:2], 2 * (height + 2 * REACH), 2 * (width + 2 * REACH)]
    grid = F.affine_grid(matrix[:, :2].to(image.dtype), shape, align_corners=False)
    sampled = F.grid_sample(doubled, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    rows, columns = (as_tensor(halving(size), image) for size in (height, width))
    return rows @ sampled @ columns.T


def padding(inverse: Tensor, sizes: Tensor) -> list[int]:
    """Pixels beyond the edge (x, y) that the results of a batch come from, and the filter's reach; at least 0."""
    signs = inverse.new_tensor([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])
    corners = torch.cat([signs * (1 + 2 * REACH / sizes)[:, None], inverse.new_ones(1, 4)])
    places = (inverse @ corners)[:, :2].abs().amax((0, 2)) * sizes / 2
    beyond: list[int] = (places - sizes / 2 + REACH).ceil().clamp(min=0).long().tolist()
    return beyond


@cache
def doubling(size: int, margin: int) -> np.ndarray:
    """The filter on a side as a matrix [2 (size + 2 margin), size]: reflect ``margin`` pixels, put zeros between, low-pass.

    As matrices, since a convolution of one channel is slow on CPUs.
    """
    padded = size + 2 * margin
    spread = np.zeros((2 * padded + len(SYM6), padded))
    for pixel in range(padded):
        spread[2 * pixel : 2 * pixel + len(SYM6), pixel] = SYM6
    reflect = np.pad(np.eye(size), ((margin, margin), (0, 0)), mode="reflect") if margin else np.eye(size)
    return spread[CENTRE : CENTRE + 2 * padded] @ reflect


@cache
def halving(size: int) -> np.ndarray:
    """The filter at every second sample of a side with a border of ``REACH`` pixels, [size, 2 (size + 2 REACH)]."""
    taken = np.zeros((size, 2 * (size + 2 * REACH)))
    first = 2 * REACH - CENTRE
    for pixel in range(size):
        taken[pixel, first + 2 * pixel : first + 2 * pixel + len(SYM6)] = SYM6
    return taken


def as_tensor(matrix: np.ndarray, image: Tensor) -> Tensor:
    """The matrix in the dtype and on the device of the image."""
    return torch.from_numpy(matrix).to(image)
