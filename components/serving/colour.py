"""Colour of a decoded picture: grey or RGB of 8 bits, transparency over a background, levels of 16-bit grey."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageColor

WHITE_16 = 65535  # the largest value of 16 bits
SUSPECT = 4096  # 16-bit pictures below this probably hold 12 bits or less


def to_mode(
    image: Image.Image, channels: int, background: str = "#ffffff", levels: tuple[int, int] | None = None
) -> Image.Image:
    """Convert to mode L or RGB; transparent pixels show ``background``, #rrggbb. ValueError for an unknown range of values.

    ``levels``: (black, white) of grey values with 16 bits; by default (0, 65535). An alpha channel and a transparent colour, of
    a palette or of a PNG (tRNS), give the same picture.
    """
    if image.mode.startswith("I"):
        image = _from_16_bits(image, levels or (0, WHITE_16))
    elif image.mode == "F":
        raise ValueError("pixels are floating-point numbers, of which the range is unknown")
    if _has_transparency(image):
        image = _over(image, background)
    return image.convert("L" if channels == 1 else "RGB")


def _has_transparency(image: Image.Image) -> bool:
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info or palette.endswith("A")


def _over(image: Image.Image, background: str) -> Image.Image:
    """Composite over the colour: an opaque pixel keeps its value exactly."""
    straight = image.convert("LA") if image.mode == "La" else image
    paper = Image.new("RGBA", image.size, (*ImageColor.getrgb(background)[:3], 255))
    return Image.alpha_composite(paper, straight.convert("RGBA")).convert("RGB")


def grey_maximum(image: Image.Image) -> int | None:
    """Return the largest value of a grey picture with 16 or 32 bits a pixel, else None."""
    return int(np.asarray(image).max(initial=0)) if image.mode.startswith("I") else None


def _from_16_bits(image: Image.Image, levels: tuple[int, int]) -> Image.Image:
    """Scale grey values from ``levels`` to 0..255; PIL's own conversion clips at 255. The transparent value becomes alpha."""
    pixels: Any = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > WHITE_16:
        raise ValueError(f"grey values from {pixels.min()} to {pixels.max()} do not fit 16 bits")
    low, high = levels
    clipped = np.clip(pixels, low, high).astype(np.int64) - low
    grey = Image.fromarray(np.rint(clipped * (255 / (high - low))).astype(np.uint8))
    if not isinstance(clear := image.info.get("transparency"), int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(pixels == clear, 0, 255).astype(np.uint8))))
