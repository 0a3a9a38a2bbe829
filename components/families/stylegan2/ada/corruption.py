"""Image-space filtering and corruption (Karras et al. 2020, arXiv 2006.06676, appendix B): bands, noise, a hole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Low-pass of the symlet with 2 vanishing moments: Daubechies 1992, table 6.1.
SYM2 = (-0.12940952255126037, 0.22414386804201339, 0.8365163037378078, 0.48296291314453416)
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # expected share of the bands in an image's power, which falls as 1 / f
GAIN_STD, NOISE_STD, HOLE = 1.0, 0.1, 0.5  # octaves of a band's gain; of the noise's deviation; side of the hole
UNIFORM, NORMAL = 8, 5  # random numbers per image: coins of the bands, of noise and hole, and its centre; gains and deviation


def corrupt(
    image: Tensor, probability: Tensor, kinds: Sequence[str], *, uniform: Tensor, normal: Tensor, noise: Tensor | None = None
) -> Tensor:
    """Apply those of "filter", "noise" and "cutout" that are in ``kinds``, each with ``probability`` [], to image [N, C, H, W].

    ``uniform`` [N, 8], ``normal`` [N, 5]; ``noise``: N(0, 1) of the image's shape, for "noise".
    """
    if "filter" in kinds:
        image = filtered(image, gains(probability, uniform[:, :4], normal[:, :4]))
    if "noise" in kinds:
        assert noise is not None
        deviation = torch.where(uniform[:, 4] < probability, normal[:, 4].abs() * NOISE_STD, 0.0)
        image = image + noise * deviation.to(image.dtype)[:, None, None, None]
    return with_hole(image, uniform[:, 5] < probability, uniform[:, 6:8]) if "cutout" in kinds else image


def gains(probability: Tensor, coins: Tensor, normal: Tensor) -> Tensor:
    """Gain of each band [N, 4]: band by band with ``probability`` times 2^N(0, 1), the expected power kept."""
    power, total = coins.new_tensor(POWER), torch.ones_like(coins)
    for band in range(coins.shape[1]):
        own = torch.ones_like(coins)
        own[:, band] = torch.where(coins[:, band] < probability, 2 ** (normal[:, band] * GAIN_STD), own[:, band])
        total = total * own / (power * own.square()).sum(1, keepdim=True).sqrt()
    return total


def bands() -> np.ndarray:
    """Impulse responses of the bands 0 to pi/8, pi/4, pi/2 and pi, [4, 43], whose sum is the identity.

    From the half-band filters H(z) H(1/z) / 2 and H(-z) H(-1/z) / 2 of the wavelet, at z, z^2 and z^4.
    """
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    high = low * (-1.0) ** np.abs(np.arange(len(low)) - len(low) // 2)
    found, below = [], np.ones(1)
    for octave in range(3):
        found.append(np.convolve(below, spread(high, 2**octave)))
        below = np.convolve(below, spread(low, 2**octave))
    return np.stack([np.pad(one, (len(below) - len(one)) // 2) for one in (below, *found[::-1])])


def spread(taps: np.ndarray, step: int) -> np.ndarray:
    """The filter at z^step: zeros between the taps."""
    wide = np.zeros((len(taps) - 1) * step + 1)
    wide[::step] = taps
    return wide


def filtered(image: Tensor, gain: Tensor) -> Tensor:
    """Amplify the bands of image [N, C, H, W] along both axes by ``gain`` [N, 4]; the border is reflected."""
    count, channels, height, width = image.shape
    taps = (gain.double() @ torch.from_numpy(bands()).to(gain.device)).to(image.dtype).repeat_interleave(channels, 0)
    reach = taps.shape[1] // 2
    rows, columns = (reflected(size, reach, image.device) for size in (height, width))
    single = image.reshape(1, count * channels, height, width)[:, :, rows][..., columns]
    single = F.conv2d(single, taps[:, None, None], groups=count * channels)
    return F.conv2d(single, taps[:, None, :, None], groups=count * channels).view(image.shape)


def reflected(size: int, reach: int, device: torch.device) -> Tensor:
    """Indices [size + 2 reach] of a side and its reflection, which does not repeat the edge; ``reach`` may be any number."""
    index = torch.arange(-reach, size + reach, device=device) % max(1, 2 * size - 2)
    return torch.minimum(index, (2 * size - 2 - index).clamp(min=0) if size > 1 else index)


def with_hole(image: Tensor, chosen: Tensor, centre: Tensor) -> Tensor:
    """Set a square of half the side, which may lie partly outside, to 0 in the ``chosen`` [N]; ``centre`` [N, 2]: x, y."""
    inside = []
    for axis, size in ((0, image.shape[3]), (1, image.shape[2])):
        place = (torch.arange(size, device=image.device) + 0.5) / size
        inside.append((place - centre[:, axis, None]).abs() < HOLE / 2)
    hole = inside[1][:, :, None] & inside[0][:, None, :] & chosen[:, None, None]
    return image * ~hole[:, None]
