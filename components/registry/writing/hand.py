"""One hand: samples of single characters, or lines of them, and what they show of slant, spacing and evenness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.core.config.strict import SettingsError
from components.stages.fetch.mirrored.ink import FORMATS, PAPER, frame, read_ink

SHEARS = np.linspace(-0.5, 0.5, 41)  # slants that are tried: pixels to the right for one upwards
LINE = 2.0  # a sample is a line of characters if it is more than this many times as wide as high
WIDEST = 1.15  # of a character in a line, of the line's height
SPACING = 0.1  # em between characters if no sample shows it
MAX_SAMPLES = 1000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm")


@dataclass(frozen=True)
class Hand:
    """Samples uint8 [n, side, side], ink bright on 0, as the translator's pictures are framed; ``slant`` as in ``SHEARS``.

    ``spacing``: white between two characters, and ``drift``: deviation of their height on the line, in heights of a character.
    """

    samples: np.ndarray
    slant: float
    spacing: float = SPACING
    drift: float = 0.0


def read_hand(folder: Path, side: int) -> Hand:
    """Read the pictures of a folder, dark on light. SettingsError if there is none, or names what is no picture of ink."""
    if not folder.is_dir():
        raise SettingsError(f"--hand: {str(folder)!r} is no folder")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:MAX_SAMPLES]
    if not files:
        raise SettingsError(f"--hand: no picture in {str(folder)!r} ({', '.join(FORMATS)})")
    characters, gaps, drifts = [], [], []
    for path in files:
        try:
            ink = _cut(read_ink(path))
        except ValueError as error:
            raise SettingsError(f"--hand: {path}: {error}") from None
        parts = list(characters_of(ink)) if ink.shape[1] > LINE * ink.shape[0] else [(0, ink)]
        characters += [_cut(part) for _, part in parts]
        ends = [start + part.shape[1] for start, part in parts]
        gaps += [(start - end) / len(ink) for (start, _), end in zip(parts[1:], ends, strict=False)]
        drifts += [_middle(part) / len(ink) - 0.5 for _, part in parts] if len(parts) > 1 else []
    return Hand(
        np.stack([frame(character, side) for character in characters]),
        slant_of(characters),
        max(0.0, float(np.median(gaps))) if gaps else SPACING,
        float(np.std(drifts)) if drifts else 0.0,
    )


def slant_of(pictures: Sequence[np.ndarray]) -> float:
    """Return the slant of ink uint8 [h, w]: the shear that, undone, piles the most ink into columns, over all pictures.

    The sum of squared column sums is largest when strokes stand upright (as in Vinciarelli and Luettin 2001).
    """
    scores = np.zeros(len(SHEARS))
    for ink in pictures:
        rows, columns = np.nonzero(ink > PAPER)
        weights = ink[rows, columns].astype(np.float64)
        up = (len(ink) - 1) / 2 - rows
        for index, shear in enumerate(SHEARS):
            places = np.rint(columns - shear * up).astype(np.int64)
            piles = np.bincount(places - places.min(), weights) if len(places) else np.zeros(1)
            scores[index] += (piles**2).sum() / max(1.0, weights.sum() ** 2)
    best = np.flatnonzero(scores >= scores.max() * (1 - 1e-12))
    return float(SHEARS[best[np.abs(SHEARS[best]).argmin()]])


def characters_of(line: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Divide a line of ink uint8 [h, w] at white columns; parts of a character that fit into its width stay together.

    Yields (first column, uint8 [h, w of the character]).
    """
    full = np.flatnonzero((line > PAPER).any(0))
    breaks = np.flatnonzero(np.diff(full) > 1)
    starts, ends = full[[0, *(breaks + 1)]], full[[*breaks, -1]] + 1
    start, end = starts[0], ends[0]
    for next_start, next_end in zip(starts[1:], ends[1:], strict=True):
        if next_end - start > WIDEST * len(line):
            yield int(start), line[:, start:end]
            start = next_start
        end = next_end
    yield int(start), line[:, start:end]


def _cut(ink: np.ndarray) -> np.ndarray:
    """Return the part with ink. ValueError without any."""
    rows, columns = (np.flatnonzero((ink > PAPER).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError("no ink: nothing is darker than the paper")
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _middle(ink: np.ndarray) -> float:
    rows = np.flatnonzero((ink > PAPER).any(1))
    return float(rows[0] + rows[-1]) / 2 if len(rows) else len(ink) / 2
