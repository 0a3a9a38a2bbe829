"""Pictures played as sound, recordings of any length translated, and how well both survive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from components.sound.distances import signal_to_noise, spectral_convergence
from components.sound.griffin_lim import griffin_lim, linear_amplitude
from components.sound.mel import MelScale, from_picture, mel_amplitude, to_picture
from components.sound.spectrum import stft
from components.sound.windows import at_level, covering, joined

Translate = Callable[[np.ndarray], np.ndarray]  # uint8 [N, bins, window, 1] -> the same shape
Vocoder = Callable[[np.ndarray], np.ndarray]  # amplitudes of mel bins [T, bins] -> signal [n]
SECTION, SEARCH, OVERLAP = 2048, 1024, 4  # frames: at most of a section, in which its quiet end is looked for, of a fade
MEASURED = 60  # seconds of a round trip


@dataclass(frozen=True)
class Player:
    """Turn pictures into sound. ``vocoder``: instead of Griffin-Lim; ``momentum`` 0 is the original algorithm."""

    scale: MelScale
    iterations: int = 60
    momentum: float = 0.99
    vocoder: Vocoder | None = None

    def play(self, picture: np.ndarray) -> np.ndarray:
        """[bins, T], 0 to 255 -> float64 [(T - 1) hop]. Long ones in sections that end where it is quiet."""
        if picture.shape[0] != self.scale.bins:
            raise ValueError(f"a picture of {picture.shape[0]} rows; {self.scale.bins} are expected")
        mel = from_picture(picture, self.scale)
        if self.vocoder:
            return self.vocoder(mel)
        signal = np.zeros((len(mel) - 1) * self.scale.hop)
        for first, last in sections(mel.sum(1)):
            part = self._section(mel[first:last])
            start = first * self.scale.hop
            if first:
                fade = np.linspace(0, 1, OVERLAP * self.scale.hop)
                shared = slice(start, start + len(fade))
                part[: len(fade)] = signal[shared] * (1 - fade) + part[: len(fade)] * fade
            signal[start : start + len(part)] = part
        return signal

    def _section(self, mel: np.ndarray) -> np.ndarray:
        amplitude = linear_amplitude(mel, self.scale)
        return griffin_lim(amplitude, self.scale.hop, iterations=self.iterations, momentum=self.momentum)


def sections(loudness: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of the sections of a picture, whose frames are so loud, [T].

    Each ends at the quietest of its last ``SEARCH`` frames, and shares ``OVERLAP`` hops of sound with the next.
    """
    first, frames = 0, len(loudness)
    while frames - first > SECTION:
        start = first + SECTION - SEARCH
        last = start + int(loudness[start : first + SECTION].argmin()) + 1
        yield first, last
        first = max(first + 1, last - OVERLAP - 1)
    yield first, frames


def picture_of(signal: np.ndarray, scale: MelScale) -> np.ndarray:
    """The picture uint8 [bins, T] of a recording at the scale's rate, brought to the scale's level."""
    return to_picture(mel_amplitude(at_level(signal, scale.level), scale), scale)


def translated(picture: np.ndarray, window: int, translate: Translate, batch: int = 64) -> np.ndarray:
    """Translate uint8 [bins, T] of any length in windows that overlap by half -> float64 [bins, T], 0 to 255."""
    starts = covering(picture.shape[1], window)
    padded = np.pad(picture, ((0, 0), (0, window)))
    parts = []
    for first in range(0, len(starts), batch):
        windows = np.stack([padded[:, start : start + window] for start in starts[first : first + batch]])
        parts.append(translate(windows[..., None])[..., 0])
    return joined(np.concatenate(parts).astype(np.float64), starts, picture.shape[1])


def round_trip(signal: np.ndarray, player: Player) -> tuple[np.ndarray, dict[str, float]]:
    """(the sound of the recording's picture, figures of how near its amplitudes are).

    ``spectral_convergence`` and ``snr_db`` compare the amplitudes of the short-time spectra of the first minute: the phases are
    others by design, so that a difference of the signals themselves would say nothing.
    """
    scale = player.scale
    signal = at_level(signal, scale.level)
    found = player.play(picture_of(signal, scale))
    length = min(len(signal), len(found), MEASURED * scale.rate)
    before, after = (np.abs(stft(part[:length], scale.fft, scale.hop)) for part in (signal, found))
    return found, {
        "spectral_convergence": spectral_convergence(before, after),
        "snr_db": signal_to_noise(before, after),
    }
