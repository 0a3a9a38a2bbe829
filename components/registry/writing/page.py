"""Set written characters on lines: each in the place and size of its print, with a hand's slant, spacing and drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.core.runtime import mix
from components.registry.writing.printing import Print

LEADING = 1.5  # em from line to line
MARGIN = 0.6  # em around the text
SPACE = 0.5  # em of a space; of an ideographic one 1
MAX_SLANT = 0.35  # correction, each way
WIDE_SPACE = "\u3000"


@dataclass(frozen=True)
class Layout:
    """``em`` in pixels; ``columns``: characters after which a line is broken; ``slant``: pixels to the right for one upwards,

    added to the characters; ``spacing`` between characters and ``drift``, deviation of their height, in em.
    """

    em: int
    columns: int
    slant: float = 0.0
    spacing: float = 0.0
    drift: float = 0.0


def set_page(text: str, prints: Sequence[Print], written: np.ndarray, layout: Layout, seed: int) -> np.ndarray:
    """Return the page, uint8 [H, W], dark on white. ``prints`` and ``written``, [N, side, side]: of the text without spaces."""
    places = _places(text, prints, layout)
    width = max((x + printed.advance for (x, _), printed in zip(places, prints, strict=True)), default=1.0)
    lines = max((line for _, line in places), default=0) + 1
    size = [round(layout.em * (extent + 2 * MARGIN)) for extent in ((lines - 1) * LEADING + 1, width)]
    ink = np.zeros(size, np.uint8)
    drifts = np.random.default_rng(mix(seed, "drift")).standard_normal(len(places)).clip(-2, 2) * layout.drift
    for (x, line), printed, picture, drift in zip(places, prints, written, drifts, strict=True):
        tile = _slanted(picture, printed.scale * layout.em, float(np.clip(layout.slant, -MAX_SLANT, MAX_SLANT)))
        # An em's baseline is 0.85 below its top, as in fonts of Chinese.
        down = MARGIN + line * LEADING + 0.85 + printed.centre[1] + float(drift)
        _lay(ink, tile, layout.em * (MARGIN + x + printed.centre[0]), layout.em * down)
    return 255 - ink


def _places(text: str, prints: Sequence[Print], layout: Layout) -> list[tuple[float, int]]:
    """Return (em from the line's start, line) of each character that is no space."""
    places: list[tuple[float, int]] = []
    advances = iter(printed.advance for printed in prints)
    x, line, column = 0.0, 0, 0
    for character in text:
        if character == "\n" or column == layout.columns:
            x, line, column = 0.0, line + 1, 0
        if character == "\n":
            continue
        if character.isspace():
            x += 1.0 if character == WIDE_SPACE else SPACE
        else:
            places.append((x, line))
            x += next(advances) + layout.spacing
        column += 1
    return places


def _slanted(picture: np.ndarray, factor: float, slant: float) -> np.ndarray:
    """Resize uint8 [side, side] by ``factor`` and slant it about its centre, on a canvas that holds all of it."""
    side = max(1, round(len(picture) * factor))
    resized = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
    canvas = Image.new("L", (side + 2 * round(abs(slant) * side), side), 0)
    canvas.paste(resized, ((canvas.width - side) // 2, 0))
    if slant:
        # The map from the result to the source: y points down.
        matrix = (1, slant, -slant * (side - 1) / 2, 0, 1, 0)
        canvas = canvas.transform(canvas.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(canvas)


def _lay(ink: np.ndarray, tile: np.ndarray, x: float, y: float) -> None:
    """Lay a tile with its centre at (x, y); the stronger ink counts, and what leaves the page is cut."""
    top, left = round(y - tile.shape[0] / 2), round(x - tile.shape[1] / 2)
    rows = slice(max(0, top), min(ink.shape[0], top + tile.shape[0]))
    columns = slice(max(0, left), min(ink.shape[1], left + tile.shape[1]))
    part = tile[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if part.size:
        ink[rows, columns] = np.maximum(ink[rows, columns], part)
