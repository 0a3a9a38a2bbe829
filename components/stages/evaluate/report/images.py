"""Pictures as data URIs: uint8 [H, W, C] arrays, small ones as PNG, large ones as JPEG of at most ``SIDE`` pixels."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, LOSSLESS = 192, 64  # pixels
QUALITY = 85
LARGE = 1_500_000


def uri(pixels: np.ndarray) -> str:
    """Return the data URI of a thumbnail."""
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if max(picture.size) <= LOSSLESS:
        return encoded(picture, "PNG")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return encoded(picture, "JPEG")


def whole_uri(pixels: np.ndarray) -> str:
    """Return the data URI of a picture at its own size: PNG, or JPEG if that has more than ``LARGE`` bytes."""
    picture = Image.fromarray(pixels)
    lossless = encoded(picture, "PNG")
    return lossless if len(lossless) <= LARGE else encoded(picture, "JPEG")


def encoded(picture: Image.Image, kind: str) -> str:
    """Return the data URI of a picture in this format."""
    file = io.BytesIO()
    picture.save(file, kind, quality=QUALITY)  # PNG has no quality, and ignores it
    return _data(kind.lower(), file.getvalue())


def file_uri(path: Path) -> str:
    """Return the data URI of a PNG file, as it is."""
    return _data("png", path.read_bytes())


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def overlaid(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a map uint8 [h, w] over a picture uint8 [H, W, C]: the grey picture, from blue (0) over yellow to red (255)."""
    height, width = pixels.shape[:2]
    smooth = Image.fromarray(heat).resize((width, height), Image.Resampling.BICUBIC)
    share = np.asarray(smooth, np.float64)[:, :, None] / 255
    low, middle, high = np.array([30, 60, 200.0]), np.array([250, 220, 60.0]), np.array([220, 30, 30.0])
    colour = np.where(share < 0.5, low + (middle - low) * 2 * share, middle + (high - middle) * (2 * share - 1))
    grey = pixels.astype(np.float64).mean(2, keepdims=True)
    return (0.5 * grey + 0.5 * colour).round().astype(np.uint8)
