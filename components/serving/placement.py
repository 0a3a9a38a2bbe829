"""Geometry: place a picture in an image of the view (crop, pad, stretch), and transform its boxes and mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """Convert (cx, cy, w, h) to (x_min, y_min, x_max, y_max), both [b, 4] and relative."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def centres_of(corners: np.ndarray) -> np.ndarray:
    """Convert (x_min, y_min, x_max, y_max) to (cx, cy, w, h), both [b, 4] and relative."""
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


@dataclass(frozen=True)
class Placement:
    """A region of a picture and the region of the frame that it fills, both (left, upper, right, lower) in pixels.

    ``picture`` and ``frame``: (height, width) of the whole.
    """

    picture: tuple[int, int]
    part: tuple[int, int, int, int]
    frame: tuple[int, int]
    target: tuple[int, int, int, int]

    def boxes(self, boxes: np.ndarray, min_area: float = 1.0, min_visibility: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Transform boxes [b, 4], (cx, cy, w, h) relative to the picture, to float32 relative to the frame, clipped.

        Returns (boxes, indices of the remaining rows). A box is dropped if less than ``min_area`` pixels of the frame or less
        than ``min_visibility`` of its own area remains.
        """
        (height, width), part, target = self.picture, np.array(self.part, np.float64), np.array(self.target, np.float64)
        scale = (target[2:] - target[:2]) / (part[2:] - part[:2])
        corners = corners_of(boxes.astype(np.float64)) * [width, height, width, height]
        corners = (corners - np.tile(part[:2], 2)) * np.tile(scale, 2) + np.tile(target[:2], 2)
        clipped = np.clip(corners, np.tile(target[:2], 2), np.tile(target[2:], 2))
        area, visible = (np.prod(c[:, 2:] - c[:, :2], axis=1) for c in (corners, clipped))
        rows = np.flatnonzero((visible >= min_area) & (visible >= min_visibility * area))
        frame = [self.frame[1], self.frame[0]] * 2
        return centres_of(clipped[rows] / frame).astype(np.float32), rows

    def mask(self) -> np.ndarray:
        """Return bool [H, W] of the frame, True in the target."""
        left, upper, right, lower = self.target
        mask = np.zeros(self.frame, dtype=np.bool_)
        mask[upper:lower, left:right] = True
        return mask


def place(picture: tuple[int, int], frame: tuple[int, int], fit: Literal["crop", "pad", "stretch"]) -> Placement:
    """Fit a picture of (height, width) into a frame, in whole pixels; a picture of the same aspect ratio is not cropped."""
    (height, width), (rows, columns) = picture, frame
    whole, full = (0, 0, width, height), (0, 0, columns, rows)
    if fit == "stretch" or width * rows == height * columns:
        return Placement(picture, whole, frame, full)
    if fit == "pad":
        scale = min(columns / width, rows / height)
        return Placement(picture, whole, frame, _centred(columns, rows, round(width * scale), round(height * scale)))
    part = _centred(width, height, round(height * columns / rows), round(width * rows / columns))
    return Placement(picture, part, frame, full)


def centre(picture: tuple[int, int], frame: tuple[int, int]) -> Placement:
    """Return the centre crop of (height, width) ``frame`` of a picture that is at least as large."""
    part = _centred(picture[1], picture[0], frame[1], frame[0])
    return Placement(picture, part, frame, (0, 0, frame[1], frame[0]))


def _centred(width: int, height: int, inner_width: int, inner_height: int) -> tuple[int, int, int, int]:
    """Return the centred region of the inner size, clamped between one pixel and the whole."""
    inner_width, inner_height = max(1, min(width, inner_width)), max(1, min(height, inner_height))
    left, upper = (width - inner_width) // 2, (height - inner_height) // 2
    return left, upper, left + inner_width, upper + inner_height
