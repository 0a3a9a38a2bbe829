"""What every format yields: samples with their codes, and contents that are read when the data set is packed.

Bitmaps become PGM files (P5), since their bytes depend on the pixels alone, not on the version of a compression library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from components.stages.fetch.files.pack import Stored
from components.stages.fetch.handwriting.reading import Parts, Place
from components.stages.views.strokes import SUFFIX, Strokes, encode_strokes

PAPER = 255
BITMAP = ".pgm"


@dataclass(frozen=True, slots=True)
class Bitmap:
    """Grey pixels of a file, row by row, ``width`` x ``height`` from ``offset`` on."""

    parts: Parts
    place: Place
    offset: int
    width: int
    height: int

    def read(self) -> bytes:
        return pgm(self.pixels())

    def pixels(self) -> np.ndarray:
        """uint8 [height, width] as they are stored."""
        data = self.parts.read(self.place, self.offset, self.width * self.height)
        return np.frombuffer(data, np.uint8).reshape(self.height, self.width)


@dataclass(frozen=True, slots=True)
class Bits:
    """One bit a pixel, 1 for ink, the leftmost pixel in the highest bit: becomes grey, dark on white."""

    parts: Parts
    place: Place
    offset: int
    width: int  # a multiple of 8
    height: int

    def read(self) -> bytes:
        data = self.parts.read(self.place, self.offset, self.width * self.height // 8)
        ink = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(self.height, self.width)
        return pgm((1 - ink) * np.uint8(PAPER))


@dataclass(frozen=True, slots=True)
class Page:
    """A page: bitmaps of lines, (top, left, bitmap), on white; where lines overlap the darker pixel counts."""

    width: int
    height: int
    lines: tuple[tuple[int, int, Bitmap], ...]

    def read(self) -> bytes:
        page = np.full((self.height, self.width), PAPER, np.uint8)
        for top, left, bitmap in self.lines:
            part = page[top : top + bitmap.height, left : left + bitmap.width]
            np.minimum(part, bitmap.pixels(), out=part)
        return pgm(page)


@dataclass(frozen=True, slots=True)
class PenStrokes:
    """``size`` bytes that ``parse`` reads as strokes."""

    parts: Parts
    place: Place
    offset: int
    size: int
    parse: Callable[[bytes], Strokes]

    def read(self) -> bytes:
        return encode_strokes(self.parse(self.parts.read(self.place, self.offset, self.size)))


@dataclass(slots=True)
class Sample:
    """A character, or a line or page of text. ``codes``: of its characters; a page has a line break between lines.

    ``record``: its number in the file, from 1; ``columns``: what the format says besides.
    """

    record: int
    codes: tuple[bytes, ...]
    content: Stored
    columns: dict[str, str] = field(default_factory=dict)
    suffix: str = BITMAP


def pgm(pixels: np.ndarray) -> bytes:
    """Encode uint8 [H, W] as binary PGM."""
    height, width = pixels.shape
    return f"P5\n{width} {height}\n255\n".encode() + np.ascontiguousarray(pixels).tobytes()


__all__ = ["BITMAP", "PAPER", "SUFFIX", "Bitmap", "Bits", "Page", "PenStrokes", "Sample", "pgm"]
