"""One picture -> uint8 [size, size, channels]: orientation, colour mode and size are settled here, once."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from components.stages.augment.policies import ViewSettings

# PIL reads many more, and hands what looks like PostScript to Ghostscript, whatever the file is called.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_SIDE = 65535  # pixels, JPEG's own limit: each row of a picture costs memory, however short it is


def decode_file(data: bytes, settings: ViewSettings) -> np.ndarray:
    """The bytes of an image file -> uint8 [size, size, channels]. ValueError says what is wrong with them.

    EXIF orientation is applied, alpha is dropped, of an animation the first frame is taken. A picture that claims more than
    ``PIL.Image.MAX_IMAGE_PIXELS`` pixels is refused before it is unpacked.
    """
    source = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a broken TIFF PIL warns thousands of times
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                _refuse_long(image)
                image.load()
                return fit(to_mode(ImageOps.exif_transpose(image), settings.channels), settings)
    except Exception as error:  # on broken files PIL raises nearly everything, TypeError and OverflowError among it
        told = " ".join(str(error).replace(f"{source!r}", "the file").split())
        raise ValueError(told or type(error).__name__) from None


def _refuse_long(image: Image.Image) -> None:
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels: a side may have at most {MAX_SIDE}")


def decode_array(pixels: np.ndarray, settings: ViewSettings) -> np.ndarray:
    """uint8 [H, W], [H, W, 1] or [H, W, 3] -> uint8 [size, size, channels]."""
    size, channels = settings.image_size, settings.channels
    if pixels.shape[:2] == (size, size) and (pixels.ndim == 2 or pixels.shape[2] == 1) and channels == 1:
        return pixels.reshape(size, size, 1)
    if pixels.shape == (size, size, 3) and channels == 3:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels))
    return fit(to_mode(image, channels), settings)


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Mode L or RGB. ValueError for a mode whose range of values is unknown."""
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


def fit(image: Image.Image, settings: ViewSettings) -> np.ndarray:
    """Mode L or RGB -> uint8 [size, size, C] by ``settings.fit``, with one antialiased resampling."""
    size, (width, height) = settings.image_size, image.size
    if settings.fit == "pad" and width != height:
        scale = size / max(width, height)
        inner = _resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), (0, 0, width, height))
        image = Image.new(image.mode, (size, size), settings.pad_value if image.mode == "L" else (settings.pad_value,) * 3)
        image.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
    else:
        image = _resize(image, (size, size), (0, 0, width, height) if settings.fit == "stretch" else _centre(width, height))
    return np.asarray(image).reshape(size, size, settings.channels)


def _centre(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred square as (left, upper, right, lower); whole pixels where it fits exactly."""
    side = min(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    return left, upper, left + side, upper + side


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Any:
    """Lanczos where a side shrinks (its filter widens with the scale: no aliasing), bicubic where both grow."""
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == size:
        return image.crop(box)
    shrinks = width > size[0] or height > size[1]
    return image.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC, box=box)
