"""Pictures of a report as PNG files without timestamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.core.recipe import Heatmap
from components.metrics.classification import pooled

LABELLED = 70  # classes whose names still fit beside a heat map
CELLS = 1000  # rows and columns of a heat map; of more classes neighbours are drawn together


def write_picture(path: Path, picture: np.ndarray | Heatmap) -> None:
    """Write ``picture`` as PNG."""
    if isinstance(picture, Heatmap):
        _write_heatmap(path, picture)
    else:
        from PIL import Image

        Image.fromarray(picture).save(path)


def _write_heatmap(path: Path, heatmap: Heatmap) -> None:
    """Draw the matrix with normalised rows, so that classes of different size are comparable."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = heatmap.classes
    size = min(14.0, max(5.0, 0.17 * len(classes) + 2))
    figure = Figure(figsize=(size, size), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    matrix = pooled(heatmap.matrix, CELLS)
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set(xlabel=heatmap.columns, ylabel=heatmap.rows)
    if len(matrix) < len(classes):
        axes.set_title(f"{len(classes):,} classes, {-(-len(classes) // len(matrix))} next to each other a cell")
    if len(classes) <= LABELLED:
        names = drawable(classes)
        axes.set_xticks(range(len(classes)), names, rotation=90 if max(map(len, classes)) > 2 else 0, fontsize=8)
        axes.set_yticks(range(len(classes)), names, fontsize=8)
    figure.colorbar(image, ax=axes, fraction=0.046, label="share of the row")
    figure.savefig(path, metadata={"Software": None})


def drawable(names: tuple[str, ...]) -> list[str]:
    """Return the names as matplotlib can draw them: one with letters that its own font lacks is replaced by its number.

    Another font of this machine would give other bytes on another machine. The page of the report has all names as text.
    """
    from matplotlib import font_manager

    letters = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    known = [all(ord(letter) in letters for letter in name) for name in names]
    # A bare $ would start mathematics.
    return [
        name.replace("$", r"\$") if whole else str(index) for index, (name, whole) in enumerate(zip(names, known, strict=True))
    ]
