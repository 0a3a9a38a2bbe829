"""Confusion matrices: a drawing with the names as text, and the pairs that are confused most."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from components.core.recipe import Heatmap
from components.metrics.classification import pooled
from components.stages.evaluate.report.images import whole_uri
from components.stages.evaluate.report.page import Block, Figure, Table
from components.stages.evaluate.report.svg import drawing, element

NAMED, NUMBERED, DRAWN = 70, 16, 150  # classes up to which names, counts and single cells are drawn
CELLS = 1000  # rows and columns of the drawing; of more classes neighbours are drawn together
PAIRS = 20
LETTERS = 18  # of a name in the drawing


def confusion_blocks(heatmap: Heatmap, caption: str) -> list[Block]:
    """Return the drawing of the matrix, and a table of the most confused pairs if there are any."""
    words = f"{caption}: {heatmap.rows} in rows, {heatmap.columns} in columns, shares of the row"
    if len(heatmap.classes) > DRAWN:
        matrix = pooled(heatmap.matrix, CELLS)
        shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
        grey = np.repeat((255 - np.round(255 * shares)).astype(np.uint8)[:, :, None], 3, axis=2)
        words += f"; a cell is {-(-len(heatmap.classes) // len(matrix))} classes" if len(matrix) < len(heatmap.classes) else ""
        drawing = Figure(words, uri=whole_uri(grey), pixelated=True)
    else:
        drawing = Figure(words, svg=matrix_svg(heatmap))
    pairs = confused_pairs(heatmap)
    return [drawing, Table(pairs[:PAIRS], "most confused", max(0, len(pairs) - PAIRS))] if pairs else [drawing]


def confused_pairs(heatmap: Heatmap) -> list[dict[str, object]]:
    """Return a row per pair (row's class, column's class) off the diagonal with its count and share, largest count first."""
    matrix, names = heatmap.matrix, heatmap.classes
    rows, columns = np.nonzero(matrix)
    rows, columns = rows[rows != columns], columns[rows != columns]
    order = np.argsort(-matrix[rows, columns], kind="stable")
    totals = matrix.sum(1)
    return [
        {
            heatmap.rows: names[row],
            heatmap.columns: names[column],
            "images": int(matrix[row, column]),
            "share of the class": float(matrix[row, column] / totals[row]),
        }
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]


def matrix_svg(heatmap: Heatmap) -> Markup:
    """Draw the matrix: a cell per pair that occurs, its opacity the share of the row; names, and counts of few classes."""
    names, number = heatmap.classes, len(heatmap.classes)
    side = max(7, min(44, 640 // number))
    left = 14 + (max(map(_width, names)) if number <= NAMED else 0)
    size = number * side
    frame = element('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>', left, left, size, size)
    labels = _names(names, left, side) if number <= NAMED else []
    return drawing(left + size + 2, left + size + 2, "confusion matrix", [frame, *_cells(heatmap, left, side), *labels])


def _cells(heatmap: Heatmap, left: int, side: int) -> Iterator[Markup]:
    names, matrix = heatmap.classes, heatmap.matrix
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    for row, column in np.argwhere(matrix > 0).tolist():
        x, y, share, count = left + column * side, left + row * side, float(shares[row, column]), int(matrix[row, column])
        title = element("<title>{} → {}: {} ({:.1%})</title>", names[row], names[column], count, share)
        cell = '<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.3f}">{}</rect>'
        yield element(cell, x, y, side, side, 0.06 + 0.94 * share, title)
        if len(names) <= NUMBERED:
            text, kind = (
                '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>',
                "strong" if share > 0.5 else "soft",
            )
            yield element(text, kind, x + side / 2, y + side / 2 + 4, count)


def _width(name: str) -> int:
    """Return the width in pixels, about, of a name as it is drawn; letters of Chinese and alike are twice as wide."""
    return 8 * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name[:LETTERS])


def _names(names: tuple[str, ...], left: int, side: int) -> list[Markup]:
    """Draw the names before the rows and, turned, above the columns."""
    size, texts = max(7, min(13, side - 1)), []
    for index, name in enumerate(names):
        short = name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
        middle = left + (index + 0.5) * side
        row = '<text x="{}" y="{:.1f}" text-anchor="end" style="font-size: {}px">{}</text>'
        texts.append(element(row, left - 6, middle + size / 3, size, short))
        column = '<text transform="translate({:.1f} {}) rotate(-90)" style="font-size: {}px">{}</text>'
        texts.append(element(column, middle + size / 3, left - 6, size, short))
    return texts
