"""Figures of a report: histogram of the scores against the reference, and the new images with the lowest scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pixels
from PIL import ImageDraw, ImageFont

from components.registry.monitor.incoming import Unreadable, read
from components.registry.monitor.score_database import Image

Decode = Callable[[bytes], np.ndarray]  # an encoded picture -> uint8 [H, W, C], as the champion sees it

BARS = 50
COLUMNS, TILE, GAP, MARGIN, LINE = 9, 96, 10, 20, 16  # pixels, but for the columns
PAPER, INK, FAINT, RED = (250, 250, 248), (30, 30, 30), (120, 120, 120), (190, 30, 30)


def write_histogram(path: Path, title: str, reference: np.ndarray, new: np.ndarray, threshold: float) -> None:
    """Plot both histograms, normalised, with the threshold; scores beyond the outer 0.1 % are clipped into the last bars."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = (f([np.quantile(scores, q) for scores in (reference, new)]) for f, q in ((min, 0.001), (max, 0.999)))
    edges = np.linspace(min(low, threshold), max(high, threshold) + 1e-9, BARS + 1)
    for scores, label, colour in ((reference, "validation images", "tab:blue"), (new, "new images", "tab:orange")):
        counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
        axes.stairs(counts / len(scores), edges, fill=True, alpha=0.5, color=colour, label=f"{len(scores):,} {label}")
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.4g}: below it is rejected")
    axes.set(xlabel="score: lower is stranger", ylabel="share of the images", title=title.replace("$", r"\$"))
    axes.legend()
    figure.savefig(path, metadata={"Software": None})


def write_strangest(path: Path, title: str, images: Sequence[Image], decode: Decode) -> None:
    """Draw the images as the champion sees them, with their scores; red: rejected, grey: the file is gone or changed."""
    rows, pitch = -(-len(images) // COLUMNS), TILE + GAP
    size = (2 * MARGIN + COLUMNS * pitch - GAP, 2 * MARGIN + 2 * LINE + rows * (pitch + 2 * LINE))
    sheet = Pixels.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(15))
    for index, image in enumerate(images):
        row, column = divmod(index, COLUMNS)
        left, top = MARGIN + column * pitch, MARGIN + 2 * LINE + row * (pitch + 2 * LINE)
        sheet.paste(_tile(image, decode), (left, top))
        draw.text((left, top + TILE + 1), f"{image.score:.4g}", RED if image.rejected else INK, font)
        draw.text((left, top + TILE + LINE), _ascii(f"{image.class_name} {image.probability:.0%}"), FAINT, font)
    sheet.save(path, "PNG")


def _tile(image: Image, decode: Decode) -> Pixels.Image:
    try:
        data = read(image.path)
        pixels = decode(data) if hashlib.sha256(data).digest() == image.digest else None
    except (FileNotFoundError, Unreadable, ValueError):
        pixels = None
    if pixels is None:
        return Pixels.new("RGB", (TILE, TILE), (200, 200, 200))
    tile = Pixels.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    return tile.resize((TILE, TILE), Pixels.Resampling.NEAREST if tile.width <= TILE else Pixels.Resampling.LANCZOS)


def _ascii(text: str) -> str:
    """Escape what the built-in font cannot show."""
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()
