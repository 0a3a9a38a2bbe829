"""Suffixes of image files, and whether the installed Pillow decodes them."""

from __future__ import annotations

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
    from components.serving.decoding import formats

    kind = FORMATS[suffix.lower()]
    if kind in formats():
        return None
    return f"this Pillow does not decode {kind}; {'`pip install pillow-heif`, or ' if kind == 'HEIF' else ''}convert it to JPEG"
