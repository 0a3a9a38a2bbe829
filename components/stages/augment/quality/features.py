"""Cheap features of pictures: a small picture, and histograms of the directions of its edges.

The histograms are those of Dalal and Triggs (2005, "Histograms of Oriented Gradients for Human Detection") without overlapping
blocks: 4 x 4 cells of 8 x 8 pixels, 8 directions of the whole circle, weighted by the gradient, square roots of the shares.
"""

from __future__ import annotations

import numpy as np

from components.stages.augment.quality.thumbnails import GREY_SIDE, Thumbnails, box_means

DIRECTIONS, CELLS, SMALL = 8, 4, 8
CHUNK = 2**12  # pictures
WORDS = "8 x 8 pixels and 4 x 4 histograms of edge directions"


def features(thumbnails: Thumbnails) -> np.ndarray:
    """Compute float64 [N, D], standardised; constant ones are zero."""
    count = len(thumbnails.small)
    pixels = box_means(thumbnails.small.astype(np.int32), SMALL).reshape(count, -1)
    edges = [edge_histograms(thumbnails.grey[start : start + CHUNK]) for start in range(0, count, CHUNK)]
    values = np.concatenate([pixels, *([np.concatenate(edges)] if edges else [])], axis=1).astype(np.float64)
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 1e-9, deviation, np.inf)


def edge_histograms(grey: np.ndarray) -> np.ndarray:
    """Compute float64 [n, 128] of grey levels [n, 32, 32]."""
    levels = np.pad(grey.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    down, right = levels[:, 2:, 1:-1] - levels[:, :-2, 1:-1], levels[:, 1:-1, 2:] - levels[:, 1:-1, :-2]
    direction = np.floor((np.arctan2(down, right) / (2 * np.pi) + 0.5) * DIRECTIONS + 0.5).astype(np.int64) % DIRECTIONS
    cell = np.arange(GREY_SIDE) * CELLS // GREY_SIDE
    place = (cell[:, None] * CELLS + cell[None, :]) * DIRECTIONS
    bins = CELLS * CELLS * DIRECTIONS
    index = (np.arange(len(grey))[:, None, None] * bins + place + direction).ravel()
    sums = np.bincount(index, np.hypot(down, right).ravel(), minlength=len(grey) * bins).reshape(len(grey), bins)
    return np.sqrt(sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-9))
