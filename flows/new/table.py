"""The table of ``new``: picture, network and training by the number of training pictures."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Choice:
    """The blocks of params.yaml, and a line per decision: what was chosen and why."""

    view: dict[str, Any]
    run: dict[str, Any] | None
    detect: dict[str, Any] | None
    reasons: tuple[str, ...]
