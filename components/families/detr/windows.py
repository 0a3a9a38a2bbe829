"""From the original picture to the model's image and back: sizes, and the part of a picture that the image shows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ...serving.decoding import formats
from ...serving.placement import centre, place
from ...serving.preparation import Preparation

ORIENTATION, SIDEWAYS = 0x0112, 5  # EXIF's tag; from this value on the picture is displayed turned by 90 degrees


def picture_size(data: bytes) -> tuple[int, int]:
    """(height, width) of an encoded picture as it is displayed, from its header. ValueError for what is no picture."""
    source = io.BytesIO(data)
    try:
        # A large JPEG is decoded at a reduced scale, and Image.open would refuse it.
        image: Any = JpegImageFile(source) if data[:3] == b"\xff\xd8\xff" else Image.open(source, formats=formats())
        width, height = image.size
        turned = image.getexif().get(ORIENTATION, 1) >= SIDEWAYS
    except Exception as error:  # on broken files PIL raises nearly everything
        raise ValueError(f"the size of the picture cannot be read: {type(error).__name__}") from None
    return (width, height) if turned else (height, width)


def as_sizes(size: Any, number: int) -> np.ndarray:
    """Check ``size``; return it as int64 [number, 2]."""
    array = np.asarray(size)
    if array.shape != (number, 2) or array.dtype.kind not in "iuf" or not np.all((array >= 1) & (array == np.floor(array))):
        raise ValueError(f"size: [{number}, 2] whole numbers (height, width) of at least 1 are expected, found {size!r}")
    return array.astype(np.int64)


def window_of(preparation: Preparation, size: tuple[int, int]) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """(mask bool [H, W], window) of a picture of (height, width) ``size``.

    The window is the part of the picture that the image shows, in its pixels: (left, upper, right, lower).
    """
    placement = place(size, preparation.stored_size, preparation.fit)
    part, target = np.array(placement.part, np.float64), np.array(placement.target, np.float64)
    scale = (part[2:] - part[:2]) / (target[2:] - target[:2])
    left, upper, right, lower = centre(preparation.stored_size, preparation.image_size).part
    low, high = (part[:2] + (np.array(corner) - target[:2]) * scale for corner in ((left, upper), (right, lower)))
    return placement.mask()[upper:lower, left:right], (*low.tolist(), *high.tolist())
