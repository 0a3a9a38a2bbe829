"""Elements of a drawing: a constant text with values, which are escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import LiteralString

from markupsafe import Markup


def element(template: LiteralString, *values: object) -> Markup:
    """Return the element with its values in the places of ``template``, written as for ``str.format``."""
    return Markup(template).format(*values)  # noqa: S704


def drawing(width: int, height: int, label: str, parts: Iterable[Markup]) -> Markup:
    """Return the drawing, shown at most at its own width."""
    opening = element(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" style="max-width: {}px">', width, height, label, width
    )
    return opening + Markup("").join(parts) + Markup("</svg>")
