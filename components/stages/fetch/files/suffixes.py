"""Suffixes of image files, and whether the installed Pillow decodes them."""

from __future__ import annotations

from functools import lru_cache

# suffix -> Pillow's name of the format
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".jp2": "JPEG2000",
}
IMAGES = tuple(FORMATS)
MAX_BYTES = 2**29  # of an image file: more than the uncompressed pixels that stage 2 accepts


def unsupported(suffix: str) -> str | None:
    """Say why files with this suffix of ``IMAGES`` cannot be decoded here; None if they can."""
    kind = FORMATS[suffix.lower()]
    return None if kind in _decoders() else f"this Pillow cannot decode {kind}; convert it to JPEG or PNG"


@lru_cache(maxsize=1)
def _decoders() -> frozenset[str]:
    from PIL import Image, features

    Image.init()
    missing = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # modules that a build of Pillow may lack
    return frozenset(kind for kind in Image.OPEN if kind not in missing or features.check(missing[kind]))
