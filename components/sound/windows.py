"""Recordings cut into windows of equal length, and windows joined again."""

from __future__ import annotations

import numpy as np

SILENCE_DB = -60.0  # effective amplitude of the loudest frame, below which a recording is silent
SMALLEST = 1e-12


class Silence(ValueError):
    """A recording in which nothing is heard."""


def loudness(signal: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Effective amplitude in dB of full scale of the frames of ``length`` samples around 0, hop, 2 hop, ...: [1 + n // hop]."""
    padded = np.pad(signal, (length // 2, length))
    energy = np.concatenate([[0.0], np.cumsum(padded**2)])
    starts = np.arange(1 + len(signal) // hop) * hop
    return 10 * np.log10(np.maximum((energy[starts + length] - energy[starts]) / length, SMALLEST))


def trimmed(signal: np.ndarray, *, length: int, hop: int, below: float | None) -> np.ndarray:
    """Cut off the beginning and the end that are ``below`` dB quieter than the loudest frame; None: nothing is cut off.

    ``Silence`` for a recording without a frame above ``SILENCE_DB``.
    """
    level = loudness(signal, length, hop)
    if level.max() < SILENCE_DB:
        raise Silence("nothing but silence; silent: skip leaves such recordings out")
    if below is None:
        return signal
    loud = np.flatnonzero(level >= level.max() - below)
    return signal[loud[0] * hop : (loud[-1] + 1) * hop]


def at_level(signal: np.ndarray, level: float | None) -> np.ndarray:
    """Scale to an effective amplitude of ``level`` dB of full scale; None, and silence: as it is."""
    effective = float(np.sqrt(np.mean(signal**2)))
    return signal if level is None or effective < 1e-9 else signal * (10 ** (level / 20) / effective)


def starts_of(frames: int, window: int, hop: int) -> list[int]:
    """First frames of the windows of a recording of ``frames`` frames: 0, hop, ... One that is less than half full is left out.

    A recording that is shorter than a window has one, whatever its length.
    """
    return [start for start in range(0, frames, hop) if start == 0 or frames - start >= window / 2]


def cut(picture: np.ndarray, window: int, hop: int, fill: int = 0) -> np.ndarray:
    """[bins, T] -> [N, bins, window]; what is beyond the end is ``fill``."""
    starts = starts_of(picture.shape[1], window, hop)
    padded = np.pad(picture, ((0, 0), (0, window)), constant_values=fill)
    return np.stack([padded[:, start : start + window] for start in starts])


def covering(frames: int, window: int) -> list[int]:
    """First frames of windows that overlap by half and cover ``frames`` frames; the last may end beyond them."""
    step = max(1, window // 2)
    return list(range(0, max(1, frames - step), step))


def joined(windows: np.ndarray, starts: list[int], frames: int) -> np.ndarray:
    """Windows [N, bins, window] at ``starts`` -> float64 [bins, frames]: their mean, weighted by triangles."""
    width = windows.shape[2]
    ramp = np.minimum(np.arange(width) + 1, width - np.arange(width)) / width
    total, weight = np.zeros((windows.shape[1], starts[-1] + width)), np.zeros(starts[-1] + width)
    for window, start in zip(windows, starts, strict=True):
        total[:, start : start + width] += window * ramp
        weight[start : start + width] += ramp
    return (total / weight)[:, :frames]
