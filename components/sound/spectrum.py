"""The short-time Fourier transform with a Hann window, and its inverse by weighted overlap-add."""

from __future__ import annotations

import numpy as np
from scipy import fft as transform


def hann(length: int) -> np.ndarray:
    """The periodic Hann window, float64 [length]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def num_frames(samples: int, hop: int) -> int:
    """Frames of a signal: one at its start and one after each whole hop."""
    return 1 + samples // hop


def stft(signal: np.ndarray, fft: int, hop: int) -> np.ndarray:
    """float64 [n] -> complex128 [1 + n // hop, fft / 2 + 1]. Frame t is centred at sample t hop, mirrored at the ends.

    A signal of fewer than ``fft`` samples is extended by zeros for the frames, whose number stays.
    """
    return spectra_of(frames_of(signal, fft, hop))


def frames_of(signal: np.ndarray, fft: int, hop: int) -> np.ndarray:
    """The frames [T, fft] of ``stft``: a view of the signal, which needs no memory."""
    whole = np.pad(signal, (0, max(0, fft - len(signal))))
    padded = np.pad(whole, fft // 2, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, fft)[::hop][: num_frames(len(signal), hop)]


def spectra_of(frames: np.ndarray) -> np.ndarray:
    """Transform frames [T, fft], each under the window: complex128 [T, fft / 2 + 1]."""
    return np.asarray(transform.rfft(frames * hann(frames.shape[1]), axis=1))


def istft(spectrum: np.ndarray, hop: int, length: int | None = None) -> np.ndarray:
    """The signal whose spectrum is nearest in squares (Griffin & Lim 1984, eq. 6): complex [T, F] -> float64 [length].

    ``length``: samples, (T - 1) hop by default.
    """
    fft = 2 * (spectrum.shape[1] - 1)
    window, frames = hann(fft), transform.irfft(spectrum, fft, axis=1)
    whole = overlap_add(frames * window, hop)
    weight = overlap_add(np.broadcast_to(window**2, frames.shape), hop)
    signal = np.divide(whole, weight, out=np.zeros_like(whole), where=weight > 1e-8)[fft // 2 :]
    length = (len(spectrum) - 1) * hop if length is None else length
    return np.pad(signal[:length], (0, max(0, length - len(signal))))


def overlap_add(frames: np.ndarray, hop: int) -> np.ndarray:
    """[T, L] -> [(T - 1) hop + L]: the sum of the frames, each shifted by ``hop`` against the one before."""
    count, length = frames.shape
    parts = -(-length // hop)
    padded = np.zeros((count, parts * hop), frames.dtype)
    padded[:, :length] = frames
    total = np.zeros((count + parts - 1, hop), frames.dtype)
    for part in range(parts):
        total[part : part + count] += padded[:, part * hop : (part + 1) * hop]
    return total.reshape(-1)[: (count - 1) * hop + length]
