"""Log-mel pictures: amplitudes on Slaney's mel scale, in dB, between a floor and a ceiling that make 0 and 255."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from components.sound.spectrum import frames_of, num_frames, spectra_of

LINEAR_HZ, KNEE = 200 / 3, 1000.0  # Slaney (1998), Auditory Toolbox: linear up to 1 kHz, 15 mel, then logarithmic
LOG_STEP = np.log(6.4) / 27
SMALLEST = 1e-10  # amplitude
BLOCK = 4096  # frames


@dataclass(frozen=True)
class MelScale:
    """All that a picture needs to become sound again. ``name`` is a class name that holds it: the column ``sound`` of a view.

    ``rate``: Hz; ``fft``, ``hop``: samples; ``bins``: rows of a picture; ``low``, ``high``: Hz; ``floor``, ``ceiling``: dB of
    the amplitude, the range of a picture; ``level``: dB to which the effective amplitude of a recording was set, or None.
    """

    rate: int
    fft: int
    hop: int
    bins: int
    low: float
    high: float
    floor: float
    ceiling: float
    level: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise ValueError(
                f"low {self.low:g} and high {self.high:g} Hz: ascending, up to {self.rate / 2:g}, half of the rate"
            )
        if self.fft % 2 or not 0 < self.hop <= self.fft // 2:
            raise ValueError(f"fft {self.fft}, hop {self.hop}: an even number of samples, and a hop of at most half of it")
        if self.floor >= self.ceiling:
            raise ValueError(f"floor {self.floor:g} and ceiling {self.ceiling:g} dB: ascending numbers are expected")
        if empty := int((mel_filters(self).sum(1) == 0).sum()):
            raise ValueError(
                f"bins {self.bins}: {empty} of them hold no frequency of an FFT of {self.fft}; fewer, or a longer FFT"
            )

    @property
    def name(self) -> str:
        """``rate=16000 fft=1024 ...``."""
        return " ".join(f"{key}={value:g}" for key, value in asdict(self).items() if value is not None)

    @classmethod
    def parse(cls, name: str) -> MelScale:
        """Invert ``name``; ValueError for any other text."""
        whole = {field.name for field in fields(cls) if field.type == "int"}
        try:
            pairs = dict(part.split("=", 1) for part in name.split())
            values: dict[str, Any] = {key: int(value) if key in whole else float(value) for key, value in pairs.items()}
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name!r} does not describe pictures of sound: {error}") from None

    def frames(self, samples: int) -> int:
        """Columns of the picture of so many samples."""
        return num_frames(samples, self.hop)


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Slaney's scale."""
    above = KNEE / LINEAR_HZ + np.log(np.maximum(hz, KNEE) / KNEE) / LOG_STEP
    return np.where(hz < KNEE, hz / LINEAR_HZ, above)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Invert ``hz_to_mel``."""
    knee = KNEE / LINEAR_HZ
    return np.where(mel < knee, mel * LINEAR_HZ, KNEE * np.exp(LOG_STEP * (np.maximum(mel, knee) - knee)))


@lru_cache(maxsize=8)
def mel_filters(scale: MelScale) -> np.ndarray:
    """Triangles of unit area in Hz (Slaney's normalisation), lowest first, float64 [bins, fft / 2 + 1]."""
    low, high = hz_to_mel(np.array([scale.low, scale.high]))
    edges = mel_to_hz(np.linspace(low, high, scale.bins + 2))
    hz = np.arange(scale.fft // 2 + 1) * scale.rate / scale.fft
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def mel_amplitude(signal: np.ndarray, scale: MelScale) -> np.ndarray:
    """float64 [n] -> float64 [T, bins], lowest bin first. Only ``BLOCK`` frames of the spectrum are in memory at once."""
    frames = frames_of(signal, scale.fft, scale.hop)
    blocks = (frames[start : start + BLOCK] for start in range(0, len(frames), BLOCK))
    return np.concatenate([np.abs(spectra_of(block)) @ mel_filters(scale).T for block in blocks])


def to_picture(amplitude: np.ndarray, scale: MelScale) -> np.ndarray:
    """float64 [T, bins] -> uint8 [bins, T], highest bin on top; the floor is 0, the ceiling 255, what is beyond is clipped."""
    decibels = 20 * np.log10(np.maximum(amplitude, SMALLEST))
    share = (decibels - scale.floor) / (scale.ceiling - scale.floor)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8).T[::-1]


def decibels_of(picture: np.ndarray, scale: MelScale) -> np.ndarray:
    """uint8 or float [bins, T], 0 to 255 -> float64 [T, bins] in dB, lowest bin first."""
    return scale.floor + picture[::-1].T.astype(np.float64) * ((scale.ceiling - scale.floor) / 255)


def from_picture(picture: np.ndarray, scale: MelScale) -> np.ndarray:
    """Invert ``to_picture`` up to its rounding: [bins, T] -> float64 [T, bins]. A pixel of 0 is silence."""
    amplitude = 10 ** (decibels_of(picture, scale) / 20)
    amplitude[picture[::-1].T == 0] = 0
    return amplitude
