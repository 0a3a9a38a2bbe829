"""The content of a page: sections of blocks. All text is plain; ``render`` escapes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from markupsafe import Markup

FILE = "index.html"


@dataclass(frozen=True)
class Facts:
    """Names and values, a line each."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Table:
    """Rows of equal keys under a caption; numbers are aligned to the right. ``left_out``: number of rows that are not shown."""

    kind: ClassVar[str] = "table"
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    left_out: int = 0

    @property
    def columns(self) -> list[str]:
        """The keys of the rows."""
        return list(self.rows[0]) if self.rows else []

    @property
    def numeric(self) -> set[str]:
        """Columns of numbers and empty cells."""
        return {name for name in self.columns if all(_is_number(row[name]) for row in self.rows)}


@dataclass(frozen=True)
class Figure:
    """A drawing, or the data URI of a picture. ``pixelated``: a small picture that is shown larger."""

    kind: ClassVar[str] = "figure"
    caption: str
    svg: Markup | None = None
    uri: str = ""
    pixelated: bool = False


@dataclass(frozen=True)
class Card:
    """A picture of a gallery: its name, lines of text, bars (words, share in [0, 1], whether it is the true class)."""

    uris: Sequence[str]
    name: str
    lines: Sequence[str] = ()
    bars: Sequence[tuple[str, float, bool]] = ()


@dataclass(frozen=True)
class Gallery:
    """Cards under a caption."""

    kind: ClassVar[str] = "gallery"
    cards: Sequence[Card]
    caption: str = ""


@dataclass(frozen=True)
class Text:
    """Paragraphs, or with ``listed`` the points of a list."""

    kind: ClassVar[str] = "text"
    paragraphs: Sequence[str]
    listed: bool = False


Block = Facts | Table | Figure | Gallery | Text


@dataclass(frozen=True)
class Section:
    """A section with its heading; one without blocks is left out."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The fragment of its address."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Page:
    """A page: its title, a line below it, and the figures that stand out (name, value, small print)."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    highlights: Sequence[tuple[str, str, str]] = field(default=())


def cell(value: Any) -> str:
    """Format a value of a table: four significant digits, a dash for nothing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool))
