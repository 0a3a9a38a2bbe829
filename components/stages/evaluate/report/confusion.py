"""Confusion matrices: a drawing with the names as text, and the pairs that are confused most."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from components.core.recipe import Heatmap
from components.stages.evaluate.report.images import whole_uri
from components.stages.evaluate.report.page import Block, Figure, Table

NAMED, NUMBERED, DRAWN = 70, 16, 150  # classes up to which names, counts and single cells are drawn
PAIRS = 20
LETTERS = 18  # of a name in the drawing


def confusion_blocks(heatmap: Heatmap, caption: str) -> list[Block]:
    """Return the drawing of the matrix, and a table of the most confused pairs if there are any."""
    words = f"{caption}: {heatmap.rows} in rows, {heatmap.columns} in columns, shares of the row"
    if len(heatmap.classes) > DRAWN:
        shares = heatmap.matrix / np.maximum(1, heatmap.matrix.sum(1, keepdims=True))
        grey = np.repeat((255 - np.round(255 * shares)).astype(np.uint8)[:, :, None], 3, axis=2)
        drawing = Figure(words, uri=whole_uri(grey), pixelated=True)
    else:
        drawing = Figure(words, svg=matrix_svg(heatmap))
    pairs = confused_pairs(heatmap)
    return [drawing, Table(pairs[:PAIRS], "most confused", max(0, len(pairs) - PAIRS))] if pairs else [drawing]


def confused_pairs(heatmap: Heatmap) -> list[dict[str, object]]:
    """Return a row per pair (row's class, column's class) off the diagonal with its count and share, largest count first."""
    matrix, names = heatmap.matrix, heatmap.classes
    wrong = matrix - np.diag(np.diag(matrix))
    places = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")]
    totals = matrix.sum(1)
    return [
        {
            heatmap.rows: names[row],
            heatmap.columns: names[column],
            "images": int(wrong[row, column]),
            "share of the class": float(wrong[row, column] / totals[row]),
        }
        for row, column in places[: int((wrong > 0).sum())]
    ]


def matrix_svg(heatmap: Heatmap) -> Markup:
    """Draw the matrix: a cell per pair that occurs, its opacity the share of the row; names, and counts of few classes."""
    names, matrix = heatmap.classes, heatmap.matrix
    number = len(names)
    side = max(7, min(44, 640 // number))
    longest = max(len(name[:LETTERS]) for name in names)
    left = 14 + (8 * longest if number <= NAMED else 0)
    size = number * side
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    parts = [Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>').format(left, left, size, size)]
    for row, column in np.argwhere(matrix > 0).tolist():
        x, y, share = left + column * side, left + row * side, float(shares[row, column])
        title = f"{names[row]} → {names[column]}: {int(matrix[row, column])} ({share:.1%})"
        opening = Markup('<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.3f}"><title>{}</title></rect>')
        parts.append(opening.format(x, y, side, side, 0.06 + 0.94 * share, title))
        if number <= NUMBERED:
            count, kind = '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>', "strong" if share > 0.5 else ""
            parts.append(Markup(count).format(kind, x + side / 2, y + side / 2 + 4, int(matrix[row, column])))
    parts += _names(names, left, side) if number <= NAMED else []
    width = left + size + 2
    # As wide as it is drawn for few classes, never wider than the page.
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="confusion matrix" style="max-width: {}px">')
    return opening.format(width, width, width) + Markup("").join(parts) + Markup("</svg>")


def _names(names: tuple[str, ...], left: int, side: int) -> list[Markup]:
    """Draw the names before the rows and, turned, above the columns."""
    size, texts = max(7, min(13, side - 1)), []
    for index, name in enumerate(names):
        short = name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
        middle = left + (index + 0.5) * side
        row = '<text x="{}" y="{:.1f}" text-anchor="end" style="font-size: {}px">{}</text>'
        texts.append(Markup(row).format(left - 6, middle + size / 3, size, short))
        column = '<text transform="translate({:.1f} {}) rotate(-90)" style="font-size: {}px">{}</text>'
        texts.append(Markup(column).format(middle + size / 3, left - 6, size, short))
    return texts
