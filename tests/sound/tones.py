"""Sounds that tests make themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

RATE = 8000


def tone(hz: float, seconds: float = 0.5, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    """A voice of ``hz``: the tone with two overtones, swelling and fading; float64 [n]."""
    time = np.arange(int(seconds * rate)) / rate
    shape = np.sin(np.pi * np.arange(len(time)) / len(time)) ** 0.5
    return amplitude * shape * sum(np.sin(2 * np.pi * k * hz * time) / k for k in (1, 2, 3)) / 1.9


def write_wav(path: Path, signal: np.ndarray, rate: int = RATE) -> Path:
    """16 bits for float64 [n] or [n, channels]; other types as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, (signal * 32767).astype(np.int16) if signal.dtype == np.float64 else signal)
    return path
