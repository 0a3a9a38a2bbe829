"""Decode an encoded picture to the pixels that a model takes. Augment, monitor, predict and servers use this code alone.

The content decides the format, not a file's suffix.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps, features
from PIL.JpegImagePlugin import JpegImageFile

from .colour import grey_maximum, to_mode
from .placement import Placement, centre, place
from .preparation import Preparation

__all__ = ["Picture", "Preparation", "decode_for", "decode_picture", "fit_picture", "formats", "read_picture"]

MAX_SIDE = 65535  # pixels, the limit of JPEG: each row of a picture costs memory, however short it is
MAX_JPEG_PIXELS = 2**28  # of a baseline JPEG that is decoded at reduced scale, at most 1 : 8
SHARPNESS = 2  # a reduced JPEG has at least this many times the pixels of the result on each side
_QUIET = threading.Lock()  # the filters of warnings belong to the process, and a server has threads

# What people have and Pillow, or this build of it, does not read: offset, first bytes, the format that would, words.
FOREIGN = (
    (4, b"ftyphei", "HEIF", "a HEIC picture; `pip install pillow-heif` reads it, or convert it to JPEG"),
    (4, b"ftyphev", "HEIF", "a HEIC picture; `pip install pillow-heif` reads it, or convert it to JPEG"),
    (4, b"ftypmif1", "HEIF", "a HEIF picture; `pip install pillow-heif` reads it, or convert it to JPEG"),
    (4, b"ftypavi", "AVIF", "an AVIF picture, which this build of Pillow does not read; convert it to JPEG"),
    (4, b"jp  ", "JPEG2000", "a JPEG 2000 picture, which this build of Pillow does not read; convert it to JPEG"),
    (0, b"version https://git-lfs", None, "a Git-LFS pointer; `git lfs pull` brings the picture"),
    (0, b"<!doctype html", None, "an HTML page, not a picture"),
    (0, b"<html", None, "an HTML page, not a picture"),
    (0, b"<svg", None, "an SVG drawing, which has no pixels"),
    (0, b"%pdf", None, "a PDF document, not a picture"),
)


@dataclass(frozen=True)
class Picture:
    """A decoded picture: ``pixels`` uint8 [H, W, channels] of ``stored_size``, and where the picture lies in them.

    ``several_frames``: it has more frames or pages, and the first is used; ``grey_maximum``: the largest value of a grey
    picture with 16 bits a pixel, else None.
    """

    pixels: np.ndarray
    placement: Placement
    several_frames: bool = False
    grey_maximum: int | None = None


def decode_picture(data: bytes, preparation: Preparation) -> np.ndarray:
    """Decode the bytes of an image file to uint8 [H, W, channels] of ``image_size``, exactly what an evaluation sees.

    EXIF orientation is applied, transparent pixels show ``background``, and the first frame of an animation is used.
    ValueError for an invalid file, and before it is decoded for one that claims too many pixels.
    """
    left, upper, right, lower = centre(preparation.stored_size, preparation.image_size).part
    return read_picture(data, preparation).pixels[upper:lower, left:right]


def read_picture(data: bytes, preparation: Preparation) -> Picture:
    """Decode the bytes of an image file at ``stored_size``; ValueError as in ``decode_picture``."""
    source = io.BytesIO(data)
    try:
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns thousands of times about a broken TIFF
            with _open(source, preparation) as image:
                image.load()
                maximum = grey_maximum(image)
                upright: Image.Image = image
                ImageOps.exif_transpose(upright, in_place=True)
                coloured = to_mode(upright, preparation.channels, preparation.background, preparation.levels)
                pixels, placement = fit_picture(coloured, preparation)
                return Picture(pixels, placement, _has_frames(image), maximum)
    except Exception as error:  # on broken files PIL raises nearly everything, TypeError and OverflowError among it
        words = " ".join(str(error).replace(f"image file {source!r}", "the file as a picture").split())
        message = _foreign(data) or words.replace(f"{source!r}", "the file")
        raise ValueError(message or type(error).__name__) from None


def _open(source: io.BytesIO, preparation: Preparation) -> Any:
    """Read the header and check the size; a JPEG of too many pixels is set to be decoded at reduced scale."""
    if source.getvalue()[:3] == b"\xff\xd8\xff":  # without the check of Image.open, which knows no reduced scale
        image: Any = JpegImageFile(source)
        _reduce(image, preparation)
    else:
        image = Image.open(source, formats=formats())
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels: a side may have at most {MAX_SIDE}")
    if image.width * image.height > _limit(preparation):
        size = f"{image.width} x {image.height} pixels are more than {_limit(preparation):,}, as in a decompression bomb"
        raise ValueError(f"{size}; a view's max_pixels admits them")
    return image


def _limit(preparation: Preparation) -> int:
    return preparation.max_pixels or Image.MAX_IMAGE_PIXELS or MAX_JPEG_PIXELS


def _reduce(image: JpegImageFile, preparation: Preparation) -> None:
    """Let a large baseline JPEG be decoded at 1/2, 1/4 or 1/8, which needs little memory; a progressive one is held whole."""
    if _limit(preparation) < image.width * image.height <= MAX_JPEG_PIXELS and "progressive" not in image.info:
        side = SHARPNESS * max(preparation.stored_size)
        image.draft(None, (side, side))


def _has_frames(image: Any) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame does not matter
        return False


@cache
def formats() -> tuple[str, ...]:
    """Return the formats that this Pillow decodes, as far as they are pictures.

    Pillow supports more, and passes PostScript to Ghostscript whatever the file's suffix.
    """
    always = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
    built = (("AVIF", "avif"), ("JPEG2000", "jpg_2000"))
    return (*always, *(name for name, feature in built if features.check(feature)), *_heif())


def _heif() -> tuple[str, ...]:
    try:
        import pillow_heif
    except ImportError:
        return ()
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _foreign(data: bytes) -> str | None:
    """Name what the file is, if it is something that people take for a readable picture."""
    for offset, magic, reader, words in FOREIGN:
        start = data[offset : offset + 64] if offset else data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
        if reader not in formats() and start.lower().startswith(magic):
            return words
    return None


def fit_picture(image: Image.Image, preparation: Preparation) -> tuple[np.ndarray, Placement]:
    """Fit an image of mode L or RGB by ``fit`` with one antialiased resampling: (uint8 [H, W, C], placement)."""
    placement = place((image.height, image.width), preparation.stored_size, preparation.fit)
    left, upper, right, lower = placement.target
    shown = _resize(image, (right - left, lower - upper), placement.part)
    if (shown.height, shown.width) != placement.frame:
        pad = preparation.pad_value
        paper = Image.new(image.mode, placement.frame[::-1], pad if image.mode == "L" else (pad,) * 3)
        paper.paste(shown, (left, upper))
        shown = paper
    return np.asarray(shown).reshape(*placement.frame, preparation.channels), placement


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Any:
    """Resample by Lanczos if a side shrinks (its filter widens with the scale: no aliasing), else by bicubic."""
    width, height = box[2] - box[0], box[3] - box[1]
    if (width, height) == size:
        return image.crop(box)
    shrinks = width > size[0] or height > size[1]
    return image.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC, box=box)


def decode_for(facts: Mapping[str, Any], data: bytes) -> np.ndarray:
    """Decode a picture as the export with these ``facts`` needs it: uint8 [H, W, C]. ValueError as in ``decode_picture``."""
    if "preparation" not in facts:
        raise ValueError("this export holds no preparation of pictures: it takes arrays only; export the run again")
    return decode_picture(data, Preparation.from_json(facts["preparation"]))
