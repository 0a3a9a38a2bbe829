"""Draw pen strokes: fitted to the picture, four times as large with round caps and joints, then reduced by averaging."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from components.core.runtime import mix
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.strokes import StrokeSettings
from components.stages.views.strokes import Strokes, decode_strokes

FINE = 4  # pixels drawn for one of the picture, on each side
# Jitter 1: at most, each way.
ROTATION = math.radians(8)
SLANT = 0.2  # to the right for one upwards
STRETCH = 0.15  # width to height
SHIFT = 0.04  # of each stroke, of the character's longer side
WIDTH = 0.4  # of the pen


def draw_file(data: bytes, settings: ViewSettings) -> np.ndarray:
    """Draw a file of pen strokes: uint8 [H, W, channels] of ``stored_size``, dark on white.

    ValueError if the view does not say how, or for a broken file.
    """
    if settings.strokes is None:
        raise ValueError("pen strokes, not a picture; `strokes: {}` in the view draws them")
    generator = np.random.default_rng(mix(settings.strokes.seed, "strokes", hashlib.sha256(data).hexdigest()))
    drawn = draw_strokes(decode_strokes(data), settings.stored, settings.strokes, generator)
    return np.repeat(drawn[:, :, None], settings.channels, axis=2)


def draw_strokes(
    strokes: Strokes, size: tuple[int, int], settings: StrokeSettings, generator: np.random.Generator
) -> np.ndarray:
    """Draw strokes, [points, 2] each, as uint8 [height, width] of ``size``. A stroke of one point is a dot."""
    shapes, pen = _jittered([np.asarray(stroke, np.float64) for stroke in strokes], settings, generator)
    return _reduced(_pen_down(_fitted(shapes, size, pen, settings.margin), size, pen))


def _jittered(
    shapes: list[np.ndarray], settings: StrokeSettings, generator: np.random.Generator
) -> tuple[list[np.ndarray], float]:
    """Return the strokes, turned, slanted, stretched and shifted, and the width of the pen."""
    if not settings.jitter:
        return shapes, settings.width
    rotation, slant, stretch, pen = settings.jitter * generator.uniform(-1, 1, 4)
    cos, sin = math.cos(rotation * ROTATION), math.sin(rotation * ROTATION)
    # y points down: a slant to the right moves points above to the right.
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1 + stretch * STRETCH, -slant * SLANT], [0, 1]])
    side = np.ptp(np.concatenate(shapes), axis=0).max()
    shifts = settings.jitter * SHIFT * side * generator.uniform(-1, 1, (len(shapes), 2))
    moved = [(shape + shift) @ matrix.T for shape, shift in zip(shapes, shifts, strict=True)]
    return moved, settings.width * (1 + pen * WIDTH)


def _fitted(shapes: list[np.ndarray], size: tuple[int, int], pen: float, margin: float) -> list[np.ndarray]:
    """Scale to the picture without its margin and half the pen, keeping the aspect ratio, and centre: pixels [points, 2]."""
    points = np.concatenate(shapes)
    low, high = points.min(axis=0), points.max(axis=0)
    sides = np.array(size[::-1], np.float64)
    room = np.maximum(sides * (1 - 2 * margin) - pen, 1)
    extent = high - low
    scale = min((space / length for space, length in zip(room, extent, strict=True) if length > 0), default=1.0)
    return [(shape - (low + high) / 2) * scale + sides / 2 for shape in shapes]


def _pen_down(shapes: list[np.ndarray], size: tuple[int, int], pen: float) -> np.ndarray:
    """Draw at ``FINE`` times the size: uint8, 255 where ink is."""
    import cv2

    canvas = np.zeros((size[0] * FINE, size[1] * FINE), np.uint8)
    thickness = max(1, round(pen * FINE))
    for shape in shapes:
        corners = np.rint(shape * FINE - 0.5).astype(np.int32)
        if len(corners) == 1 or not np.ptp(corners, axis=0).any():
            cv2.circle(canvas, corners[0].tolist(), max(1, thickness // 2), (255,), cv2.FILLED)
        else:
            cv2.polylines(canvas, [corners[:, None]], isClosed=False, color=(255,), thickness=thickness)
    return canvas


def _reduced(canvas: np.ndarray) -> np.ndarray:
    """Average blocks of ``FINE`` x ``FINE`` and invert: uint8, dark on white."""
    height, width = (side // FINE for side in canvas.shape)
    ink = canvas.reshape(height, FINE, width, FINE).astype(np.uint32).sum(axis=(1, 3))
    return (255 - (ink + FINE * FINE // 2) // (FINE * FINE)).astype(np.uint8)
