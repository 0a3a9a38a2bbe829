"""Sheets: many images in one picture."""

from __future__ import annotations

import numpy as np

READABLE = 48  # pixels, about: the height to which small images are magnified


def sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """uint8 [N, H, W, C] -> uint8 [H', W', 3]: row by row, with grey lines between images and integer magnification."""
    number, height, width, channels = images.shape
    rows, zoom = -(-number // columns), max(1, round(READABLE / height))
    page = np.full((rows * columns, height + 1, width + 1, 3), 128, np.uint8)
    page[:number, :height, :width] = images if channels == 3 else images.mean(-1, keepdims=True).round()
    joined = page.reshape(rows, columns, height + 1, width + 1, 3).swapaxes(1, 2)
    return joined.reshape(rows * (height + 1), columns * (width + 1), 3).repeat(zoom, 0).repeat(zoom, 1)
