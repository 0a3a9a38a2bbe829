"""Decode a picture of a dataset, encoded or an array, to uint8 [H, W, channels] of the view's stored size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from components.serving.colour import to_mode
from components.serving.decoding import Picture, decode_picture, fit_picture, read_picture
from components.serving.placement import Placement, place
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.strokes import draw_file
from components.stages.views.strokes import is_strokes


def read(picture: np.ndarray | bytes, settings: ViewSettings) -> Picture:
    """Decode an array uint8 [h, w] or [h, w, c], or an image file's or strokes' bytes. ValueError for an invalid file."""
    if isinstance(picture, bytes) and is_strokes(picture):
        return Picture(draw_file(picture, settings), place(settings.stored, settings.stored, settings.fit))
    if isinstance(picture, bytes):
        return read_picture(picture, settings.preparation)
    return Picture(*_fit_array(picture, settings))


def decode(picture: np.ndarray | bytes, settings: ViewSettings) -> tuple[np.ndarray, Placement]:
    """Return the pixels and the placement of ``read``."""
    decoded = read(picture, settings)
    return decoded.pixels, decoded.placement


def decode_file(data: bytes, settings: ViewSettings) -> np.ndarray:
    """Decode the bytes of an image file to uint8 [H, W, channels] of ``image_size``, as an evaluation sees it."""
    return decode_picture(data, settings.preparation)


def _fit_array(pixels: np.ndarray, settings: ViewSettings) -> tuple[np.ndarray, Placement]:
    size, channels = settings.stored, settings.channels
    grey = pixels.ndim == 2 or pixels.shape[2] == 1
    if pixels.shape[:2] == size and grey == (channels == 1):
        return pixels.reshape(*size, channels), place(size, size, settings.fit)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels))
    return fit_picture(to_mode(image, channels), settings.preparation)
