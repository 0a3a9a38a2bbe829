"""Let a judge, a classifier of characters, read what was written, and report what it reads otherwise."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.core.config.strict import SettingsError
from components.registry.predict.classify import Prediction, predictions
from components.registry.predict.model import Model


@dataclass(frozen=True)
class Reading:
    """What the judge reads: ``label`` with ``probability``; None for a character that is none of its classes."""

    character: str
    label: str | None
    probability: float = 0.0

    @property
    def differs(self) -> bool:
        return self.label is not None and self.label != self.character


def read_back(judge: Model, text: Sequence[str], written: np.ndarray, *, bright: bool) -> list[Reading]:
    """Return the judge's reading of each character; ``written`` uint8 [N, side, side], ink bright on 0.

    ``bright``: whether the judge was trained on bright ink. SettingsError if it knows none of the characters.
    """
    judge.must_be("classifier", "--judge")
    assert judge.decode is not None
    known = set(judge.served.facts["classes"])
    if not known & set(text):
        raise SettingsError(f"--judge: {judge.name} knows none of the characters; its classes are {_some(sorted(known))}")
    pixels = np.stack([judge.decode(_png(picture if bright else 255 - picture)) for picture in written])
    found = predictions(judge.served, [""] * len(pixels), pixels)
    return [_reading(character, answer, known) for character, answer in zip(text, found, strict=True)]


def report(readings: Sequence[Reading]) -> list[str]:
    """Return lines: how many characters are read as written, and each that is not."""
    judged = [reading for reading in readings if reading.label is not None]
    lines = [f"{sum(not reading.differs for reading in judged)} of {len(judged)} characters are read as written"]
    if len(judged) < len(readings):
        unknown = sorted({reading.character for reading in readings if reading.label is None})
        lines[0] += f"; no class of the judge: {_some(unknown)}"
    for place, reading in enumerate(readings, 1):
        if reading.differs:
            lines.append(f"  character {place}, {reading.character}: read as {reading.label} ({reading.probability:.2f})")
    return lines


def _reading(character: str, answer: Prediction, known: set[str]) -> Reading:
    return Reading(character, answer.label, answer.probability) if character in known else Reading(character, None)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _some(names: Sequence[str]) -> str:
    return " ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
