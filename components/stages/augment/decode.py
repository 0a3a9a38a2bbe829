"""Decode a picture to uint8 [H, W, channels] of the view's stored size: orientation, colour mode and size."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from components.stages.augment.policy.policies import ViewSettings
from components.stages.views.frames import Placement, centre, place

# PIL supports more, and passes PostScript to Ghostscript whatever the file's suffix.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_SIDE = 65535  # pixels, the limit of JPEG: each row of a picture costs memory, however short it is


def decode(picture: np.ndarray | bytes, settings: ViewSettings) -> tuple[np.ndarray, Placement]:
    """Decode an array or the bytes of an image file to (uint8 [H, W, channels] of ``stored_size``, the picture's placement).

    ValueError for an invalid file.
    """
    return _decode_file(picture, settings) if isinstance(picture, bytes) else _decode_array(picture, settings)


def decode_file(data: bytes, settings: ViewSettings) -> np.ndarray:
    """Decode the bytes of an image file to uint8 [H, W, channels] of ``image_size``, centre-cropped as in an evaluation.

    EXIF orientation is applied, alpha is dropped, and the first frame of an animation is used. A picture that claims more than
    ``PIL.Image.MAX_IMAGE_PIXELS`` pixels is rejected before it is decoded. ValueError for an invalid file.
    """
    left, upper, right, lower = centre(settings.stored, settings.shown).part
    return _decode_file(data, settings)[0][upper:lower, left:right]


def _decode_file(data: bytes, settings: ViewSettings) -> tuple[np.ndarray, Placement]:
    source = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns thousands of times about a broken TIFF
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                _refuse_long(image)
                image.load()
                return fit(to_mode(ImageOps.exif_transpose(image), settings.channels), settings)
    except Exception as error:  # on broken files PIL raises nearly everything, TypeError and OverflowError among it
        message = " ".join(str(error).replace(f"{source!r}", "the file").split())
        raise ValueError(message or type(error).__name__) from None


def _refuse_long(image: Image.Image) -> None:
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels: a side may have at most {MAX_SIDE}")


def _decode_array(pixels: np.ndarray, settings: ViewSettings) -> tuple[np.ndarray, Placement]:
    size, channels = settings.stored, settings.channels
    grey = pixels.ndim == 2 or pixels.shape[2] == 1
    if pixels.shape[:2] == size and grey == (channels == 1):
        return pixels.reshape(*size, channels), place(size, size, settings.fit)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels))
    return fit(to_mode(image, channels), settings)


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Convert to mode L or RGB. ValueError for a mode whose range of values is unknown."""
    if image.mode.startswith("I"):  # 16 bits a pixel; PIL's own conversion clips at 255
        image = Image.fromarray(_from_16_bits(np.asarray(image)))
    elif image.mode == "F":
        raise ValueError("pixels are floating-point numbers, of which the range is unknown")
    elif image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def _from_16_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"grey values from {pixels.min()} to {pixels.max()} do not fit 16 bits")
    return np.rint(pixels * (255 / 65535)).astype(np.uint8)


def fit(image: Image.Image, settings: ViewSettings) -> tuple[np.ndarray, Placement]:
    """Fit an image of mode L or RGB by ``settings.fit`` with one antialiased resampling: (uint8 [H, W, C], placement)."""
    placement = place((image.height, image.width), settings.stored, settings.fit)
    left, upper, right, lower = placement.target
    shown = _resize(image, (right - left, lower - upper), placement.part)
    if (shown.height, shown.width) != placement.frame:
        paper = Image.new(
            image.mode, placement.frame[::-1], settings.pad_value if image.mode == "L" else (settings.pad_value,) * 3
        )
        paper.paste(shown, (left, upper))
        shown = paper
    return np.asarray(shown).reshape(*placement.frame, settings.channels), placement


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Any:
    """Resample by Lanczos if a side shrinks (its filter widens with the scale: no aliasing), else by bicubic."""
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == size:
        return image.crop(box)
    shrinks = width > size[0] or height > size[1]
    return image.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC, box=box)
