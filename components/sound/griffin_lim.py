"""From amplitudes of mel bins to a signal: non-negative inverse of the filters, then phases by Griffin-Lim."""

from __future__ import annotations

import numpy as np

from components.sound.mel import MelScale, mel_filters
from components.sound.spectrum import istft, stft

INVERSE_STEPS = 30
TINY = 1e-12


def linear_amplitude(mel: np.ndarray, scale: MelScale) -> np.ndarray:
    """Find non-negative amplitudes [T, F] of the frequencies whose mel bins are nearest to ``mel`` [T, bins] in squares.

    The pseudo-inverse, cut off at 0, then multiplicative updates (Lee & Seung 2001, eq. 4), which stay at or above 0.
    """
    filters = mel_filters(scale)
    found = np.maximum(mel @ np.linalg.pinv(filters).T, 0)
    found = np.maximum(found, 1e-3 * mel.max(initial=0.0) * (filters.sum(0) > 0) + TINY)
    target = mel @ filters
    for _ in range(INVERSE_STEPS):
        found *= target / (found @ filters.T @ filters + TINY)
    return found


def griffin_lim(
    amplitude: np.ndarray, hop: int, *, iterations: int = 60, momentum: float = 0.99, length: int | None = None, seed: int = 0
) -> np.ndarray:
    """Find a signal whose spectrum has nearly these amplitudes [T, F] -> float64 [length], (T - 1) hop by default.

    Griffin & Lim 1984, with the momentum of the fast algorithm (Perraudin et al. 2013, eq. 7; 0: the original). The first
    phases are drawn from ``seed``.
    """
    fft = 2 * (amplitude.shape[1] - 1)
    length = (len(amplitude) - 1) * hop if length is None else length
    if length < 1:
        return np.zeros(max(0, length))
    phase = np.exp(2j * np.pi * np.random.default_rng(seed).random(amplitude.shape))
    before = np.zeros(amplitude.shape, np.complex128)
    for _ in range(iterations):
        consistent = stft(istft(amplitude * phase, hop, length), fft, hop)[: len(amplitude)]
        consistent = np.pad(consistent, ((0, len(amplitude) - len(consistent)), (0, 0)))
        direction = consistent + momentum * (consistent - before)
        phase, before = direction / np.maximum(np.abs(direction), TINY), consistent
    return istft(amplitude * phase, hop, length)
