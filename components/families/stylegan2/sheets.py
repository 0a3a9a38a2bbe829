"""Sheets of a served StyleGAN2: samples, truncation, interpolation, mixed styles, projections."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from components.metrics.sheets import sheet

TRUNCATIONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
BETWEEN = 8  # pictures of an interpolation
MAX_COLUMNS = 32  # classes in one row
THIRDS = ("coarse", "middle", "fine")


def labels_in_turn(served: Any, number: int) -> np.ndarray | None:
    """Classes 0, 1, ..., K - 1, 0, ...; None without classes."""
    classes = served.facts["classes"]
    return np.arange(number) % len(classes) if classes else None


def draw(served: Any, number: int, *, seed: int, truncation: float = 1.0, label: np.ndarray | None = None) -> np.ndarray:
    """uint8 [number, H, W, C]; without ``label`` the classes in turn."""
    label = labels_in_turn(served, number) if label is None else label
    styles = served.styles(number, seed=seed, label=label, truncation=truncation)
    images: np.ndarray = served.synthesise(served.repeated(styles), seed=seed)
    return images


def samples_sheet(served: Any, rows: int, seed: int, truncation: float) -> np.ndarray:
    """A column per class, or a square."""
    columns = len(served.facts["classes"]) or rows
    images = draw(served, rows * columns, seed=seed, truncation=truncation)
    return sheet(images, columns if columns <= MAX_COLUMNS else math.isqrt(len(images) - 1) + 1)


def truncation_sheet(served: Any, rows: int, seed: int) -> np.ndarray:
    """Rows: latent codes. Columns: truncation 0 (the mean), 0.25, ..., 1.25."""
    styles = served.styles(rows, seed=seed, label=labels_in_turn(served, rows))
    columns = [served.synthesise(served.repeated(served.truncated(styles, t)), noise="none") for t in TRUNCATIONS]
    return sheet(np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:]), len(TRUNCATIONS))


def interpolation_sheet(served: Any, rows: int, seed: int) -> np.ndarray:
    """Rows: pairs of styles. Columns: from the one to the other in W."""
    styles = served.styles(2 * rows, seed=seed, label=labels_in_turn(served, 2 * rows))
    shares = np.linspace(0, 1, BETWEEN, dtype=np.float32)[None, :, None]
    between = styles[:rows, None] * (1 - shares) + styles[rows:, None] * shares
    return sheet(served.synthesise(served.repeated(between.reshape(-1, styles.shape[1])), noise="none"), BETWEEN)


def mixing_sheet(served: Any, rows: int, seed: int, third: str) -> np.ndarray:
    """First row and column: two sets of images; a cell has its row's styles, but its column's in one third of the layers."""
    styles = served.styles(2 * rows, seed=seed, label=labels_in_turn(served, 2 * rows))
    down, across = served.repeated(styles[:rows]), served.repeated(styles[rows:])
    layers = np.array_split(np.arange(served.facts["num_styles"]), len(THIRDS))[THIRDS.index(third)]
    cells = np.repeat(down[:, None], rows, axis=1)
    cells[:, :, layers] = across[None][:, :, layers]
    grid = served.synthesise(cells.reshape(-1, *down.shape[1:]), noise="none").reshape(rows, rows, *image_shape(served))
    top, left = served.synthesise(across, noise="none"), served.synthesise(down, noise="none")
    corner = np.full((1, 1, *image_shape(served)), 255, np.uint8)
    page = np.concatenate([np.concatenate([corner, top[None]], 1), np.concatenate([left[:, None], grid], 1)], 0)
    return sheet(page.reshape(-1, *image_shape(served)), rows + 1)


def projection_sheet(served: Any, images: np.ndarray, steps: int, seed: int) -> np.ndarray:
    """Columns: an image, and the nearest one that the generator makes."""
    style = served.project(images, steps=steps, seed=seed)
    found = served.synthesise(served.repeated(style), noise="none")
    return sheet(np.stack([images, found], axis=1).reshape(-1, *images.shape[1:]), 2)


def image_shape(served: Any) -> tuple[int, int, int]:
    size, channels = served.facts["image_size"], served.facts["channels"]
    return size, size, channels
