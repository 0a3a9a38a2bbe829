"""One character, one font, one square image: on a baseline and at a scale that all characters of the font share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.stages.fetch.glyphs.fonts import alphanumerics, font_path

MARGIN = 0.08  # free border at jitter 0, as a fraction of the image's side
EDGE = 0.02  # the least border, whatever the jitter
UNITS = 1000  # fonts are measured at this many pixels an em

SHIFT = 0.06  # jitter 1: at most this fraction of the side, each way
ROTATION = math.radians(10)  # jitter 1: at most, each way
SCALE = 0.10  # jitter 1: 0.9 .. 1.1. Less than between o and O (about 0.75), so that the two stay apart
STROKE = 0.02  # jitter 1: at most this fraction of an em added around the outline
CONTRAST = 0.4  # jitter 1: the ink's brightness 0.6 .. 1


@dataclass(frozen=True)
class Pose:
    """How one sample departs from the exact drawing; ``shift`` (right, down) and ``stroke`` in fractions of side and em."""

    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0  # radians, counter-clockwise
    scale: float = 1.0
    stroke: float = 0.0
    contrast: float = 1.0


@dataclass(frozen=True)
class Frame:
    """A font's common frame: pixels an em and the baseline's height from the top, both for a side of 1."""

    em: float
    baseline: float


def draw_pose(generator: np.random.Generator, jitter: float) -> Pose:
    """A pose of strength ``jitter`` in 0..1: always six draws, so that one seed gives one set of poses, stronger or weaker."""
    right, down, rotation, scale, stroke, contrast = generator.uniform(-1, 1, size=6) * jitter
    return Pose(
        shift=(right * SHIFT, down * SHIFT),
        rotation=rotation * ROTATION,
        scale=1 + scale * SCALE,
        stroke=abs(stroke) * STROKE,
        contrast=1 - abs(contrast) * CONTRAST,
    )


def draw(font: str, character: str, size: int, pose: Pose) -> np.ndarray:
    """uint8 [size, size], ink bright on 0, antialiased, never clipped: what would not fit is drawn smaller and moved inwards.

    ValueError where the character leaves no ink (a space).
    """
    fine = size * _oversampling(size)
    frame = font_frame(font)
    face = _face(font, frame.em * fine)
    stroke = pose.stroke * frame.em * fine
    left, top, right, bottom = face.getbbox(character, anchor="ls", stroke_width=stroke)
    if right <= left or bottom <= top:
        raise ValueError(f"characters: {character!r} leaves no ink in {font}")
    # Drawn on a canvas that holds all of it, the origin at (pad - left, pad - top); then moved into the image.
    pad = 2
    sheet = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), 0)
    ImageDraw.Draw(sheet).text((pad - left, pad - top), character, fill=255, font=face, anchor="ls", stroke_width=stroke)
    centre = (pad + (right - left) / 2, pad + (bottom - top) / 2)
    target = (0.5 * fine, frame.baseline * fine + (top + bottom) / 2)
    matrix = _placement((right - left, bottom - top), centre, target, fine, pose)
    image = sheet.transform((fine, fine), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    reduced = np.asarray(image.reduce(_oversampling(size)), dtype=np.float64)
    return np.rint(reduced * pose.contrast).astype(np.uint8)


def _placement(
    ink: tuple[float, float], centre: tuple[float, float], target: tuple[float, float], fine: int, pose: Pose
) -> tuple[float, float, float, float, float, float]:
    """Pillow's affine coefficients, image -> sheet: the box of size ``ink`` about ``centre`` comes to lie about ``target``."""
    cos, sin = math.cos(pose.rotation), math.sin(pose.rotation)
    width, height = abs(cos) * ink[0] + abs(sin) * ink[1], abs(sin) * ink[0] + abs(cos) * ink[1]
    room = fine * (1 - 2 * EDGE)
    scale = min(pose.scale, room / width, room / height)
    x = _inside(target[0] + pose.shift[0] * fine, scale * width, fine)
    y = _inside(target[1] + pose.shift[1] * fine, scale * height, fine)
    a, b, d, e = cos / scale, -sin / scale, sin / scale, cos / scale
    return a, b, centre[0] - a * x - b * y, d, e, centre[1] - d * x - e * y


def _inside(middle: float, extent: float, fine: int) -> float:
    """``middle`` moved so that ``extent`` about it keeps the least border on both sides."""
    least = EDGE * fine + extent / 2
    return min(max(middle, least), fine - least)


@cache
def font_frame(font: str) -> Frame:
    """Scale and baseline at which all of the font's letters and digits fit; they do not depend on the characters wanted."""
    face = _face(font, UNITS)
    boxes = [face.getbbox(character, anchor="ls") for character in alphanumerics(font)]
    if not boxes:  # a font of symbols
        ascent, descent = face.getmetrics()
        boxes = [(0, -ascent, ascent + descent, descent)]
    top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
    width = max(box[2] - box[0] for box in boxes)
    em = (1 - 2 * MARGIN) * UNITS / max(bottom - top, width)
    return Frame(em=em, baseline=0.5 - (top + bottom) / 2 * em / UNITS)


def _oversampling(size: int) -> int:
    """Pixels drawn for one kept, each way: small images need them for exact positions, large ones do not."""
    return 4 if size <= 64 else 2 if size <= 256 else 1


@cache
def _face(font: str, pixels: float) -> ImageFont.FreeTypeFont:
    """BASIC layout: one glyph needs no shaping, and the shaping library is not the same everywhere."""
    return ImageFont.truetype(str(font_path(font)), pixels, layout_engine=ImageFont.Layout.BASIC)
