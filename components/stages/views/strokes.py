"""Pen strokes as a file of a data set: what fetch writes and augment draws.

First 8 bytes, number of strokes u16, the points of each u16, then x and y i16 of all points, little-endian, y downwards.
"""

from __future__ import annotations

import numpy as np

MAGIC = b"STROKES1"
SUFFIX = ".strokes"
MAX_STROKES = 2**16 - 1

Strokes = tuple[np.ndarray, ...]  # int16 [points, 2] each: x, y


def encode_strokes(strokes: Strokes) -> bytes:
    """Encode strokes of at least one point each."""
    assert strokes, "no strokes"
    assert len(strokes) <= MAX_STROKES
    counts = np.array([len(stroke) for stroke in strokes], "<u2")
    points = np.concatenate(strokes).astype("<i2")
    return MAGIC + np.array([len(strokes)], "<u2").tobytes() + counts.tobytes() + points.tobytes()


def is_strokes(data: bytes) -> bool:
    return data[: len(MAGIC)] == MAGIC


def decode_strokes(data: bytes) -> Strokes:
    """Decode a file of strokes. ValueError if its counts do not give its length."""
    body = data[len(MAGIC) :] if is_strokes(data) else b""
    number = int.from_bytes(body[:2], "little")
    start = 2 + 2 * number
    counts = (
        np.frombuffer(body[2:start], np.uint8).view("<u2").astype(np.int64) if len(body) >= start else np.zeros(0, np.int64)
    )
    if not len(counts) or not counts.all() or len(body) != start + 4 * counts.sum():
        raise ValueError("the file of pen strokes is broken")
    points = np.frombuffer(body[start:], "<i2").reshape(-1, 2)
    return tuple(np.split(points, np.cumsum(counts)[:-1]))
