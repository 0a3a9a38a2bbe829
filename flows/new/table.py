"""The table of ``new``: picture, network and training by the number of training pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A row of the table: the largest number of training pictures, and what holds up to it."""

    pictures: float
    image_size: int
    scale: float  # of PP-LCNet's widths
    batch_size: int
    epochs: int
    augment: str  # "strong" or "medium"


TABLE = (
    Row(1_000, image_size=64, scale=0.5, batch_size=32, epochs=60, augment="strong"),
    Row(10_000, image_size=128, scale=1.0, batch_size=64, epochs=40, augment="strong"),
    Row(float("inf"), image_size=224, scale=1.0, batch_size=128, epochs=20, augment="medium"),
)


def batch_size(number: int, least: int, most: int) -> int:
    """Return the largest power of two up to a quarter of the pictures, from ``least`` to ``most``, which are powers of two."""
    batch = least
    while batch * 2 <= min(most, number / 4):
        batch *= 2
    return batch


def steps_of(epochs: int, number: int, batch: int, limits: tuple[int, int]) -> int:
    """Return ``epochs`` times through ``number`` pictures in steps, in whole hundreds within ``limits``."""
    least, most = limits
    return min(most, max(least, -(-epochs * number // batch // 100) * 100))


def threads_of(small: bool) -> int:
    """Return 1 for small networks and pictures, whose layers are too short to share, else the machine's cores, at most 4."""
    return 1 if small else max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Choice:
    """The blocks of params.yaml, and a line per decision: what was chosen and why."""

    view: dict[str, Any]
    run: dict[str, Any] | None
    detect: dict[str, Any] | None
    reasons: tuple[str, ...]
