"""Normalise written and printed characters: crop to the ink, scale the longer side to a fixed length, centre.

A scan has no information on baseline and relative size, so they are removed from prints too: otherwise the two domains would
differ in properties that no translation can infer.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from components.stages.fetch.files.pack import Classes

MARGIN = 0.06  # free border, as a fraction of the image's side
PAPER = 24  # of 255: threshold of paper noise
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
NAMED = 5  # files in an error


def read_scans(classes: Classes, side: int) -> list[np.ndarray]:
    """Read scans and ``frame`` them, uint8 [N, side, side] per class. ValueError names files that are unreadable or empty."""
    faults: list[str] = []
    scans = [_framed(paths, side, faults) for paths in classes.values()]
    if faults:
        more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise ValueError(f"unreadable images: {'; '.join(faults[:NAMED])}{more}")
    return [np.stack(images) for images in scans]


def _framed(paths: Sequence[Path], side: int, faults: list[str]) -> list[np.ndarray]:
    images = []
    for path in paths:
        try:
            images.append(frame(read_ink(path), side))
        except ValueError as error:
            faults.append(f"{'/'.join(path.parts[-3:])}: {error}")
    return images


def read_ink(path: Path) -> np.ndarray:
    """Read a scan, dark on white, as uint8 [H, W], ink bright on 0. ValueError for an invalid file.

    Transparent pixels are paper.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                colours = image.convert("RGBA")
        paper = Image.new("RGBA", colours.size, "white")
        paper.alpha_composite(colours)
        return 255 - np.asarray(paper.convert("L"))
    except Exception as error:  # on broken files PIL raises nearly everything
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def frame(ink: np.ndarray, side: int) -> np.ndarray:
    """Normalise uint8 [H, W], ink bright on 0, to uint8 [side, side] of the same aspect ratio. ValueError without ink."""
    cut = cut_to_ink(ink)
    scale = side * (1 - 2 * MARGIN) / max(cut.shape)
    height, width = (max(1, round(extent * scale)) for extent in cut.shape)
    shrunk = Image.fromarray(np.ascontiguousarray(cut)).resize((width, height), _filter(scale))
    framed = Image.new("L", (side, side), 0)
    framed.paste(shrunk, ((side - width) // 2, (side - height) // 2))
    return np.asarray(framed)


def cut_to_ink(ink: np.ndarray) -> np.ndarray:
    """Cut uint8 [H, W], ink bright on 0, to the rectangle of its ink. ValueError without ink."""
    rows, columns = (np.flatnonzero((ink > PAPER).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError("no ink: nothing is darker than the paper")
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def touching(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Set two characters of equal height, uint8 [H, W] each, side by side so that their ink just touches: uint8 [H, W'].

    The right one moves to the left until in one row its first ink lies on the last ink of the other; without a row that both
    have ink in, it stays beside it.
    """
    height, width = left.shape
    both = (left > PAPER).any(axis=1) & (right > PAPER).any(axis=1)
    last = width - 1 - (left[both] > PAPER)[:, ::-1].argmax(axis=1)
    first = (right[both] > PAPER).argmax(axis=1)
    offset = max(0, int((last - first).max())) if both.any() else width
    out = np.zeros((height, max(width, offset + right.shape[1])), dtype=np.uint8)
    out[:, :width] = left
    part = out[:, offset : offset + right.shape[1]]
    np.maximum(part, right, out=part)
    return out


def _filter(scale: float) -> Image.Resampling:
    return Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
