"""Draw a character as a square image, on a baseline and at a scale common to all characters of the font."""

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
    """Perturbation of one sample; ``shift`` (right, down) and ``stroke`` in fractions of side and em."""

    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0  # radians, counter-clockwise
    scale: float = 1.0
    stroke: float = 0.0
    contrast: float = 1.0


@dataclass(frozen=True)
class Frame:
    """A font's common frame: pixels per em and the baseline's distance from the top, both for a side of 1."""

    em: float
    baseline: float


def draw_pose(generator: np.random.Generator, jitter: float) -> Pose:
    """Draw a pose of strength ``jitter`` in 0..1, always by six numbers, so that a seed gives the same poses, scaled."""
    right, down, rotation, scale, stroke, contrast = generator.uniform(-1, 1, size=6) * jitter
    return Pose(
        shift=(right * SHIFT, down * SHIFT),
        rotation=rotation * ROTATION,
        scale=1 + scale * SCALE,
        stroke=abs(stroke) * STROKE,
        contrast=1 - abs(contrast) * CONTRAST,
    )


def draw(font: str, character: str, size: int, pose: Pose) -> np.ndarray:
    """Draw uint8 [size, size], ink bright on 0, antialiased; a character that would be clipped is scaled and moved to fit.

    ValueError if the character has no ink (a space).
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
    """Return Pillow's affine coefficients, image -> sheet, that move the box of size ``ink`` from ``centre`` to ``target``."""
    cos, sin = math.cos(pose.rotation), math.sin(pose.rotation)
    width, height = abs(cos) * ink[0] + abs(sin) * ink[1], abs(sin) * ink[0] + abs(cos) * ink[1]
    room = fine * (1 - 2 * EDGE)
    scale = min(pose.scale, room / width, room / height)
    x = _inside(target[0] + pose.shift[0] * fine, scale * width, fine)
    y = _inside(target[1] + pose.shift[1] * fine, scale * height, fine)
    a, b, d, e = cos / scale, -sin / scale, sin / scale, cos / scale
    return a, b, centre[0] - a * x - b * y, d, e, centre[1] - d * x - e * y


def _inside(middle: float, extent: float, fine: int) -> float:
    """Move ``middle`` so that ``extent`` around it keeps the minimum border on both sides."""
    least = EDGE * fine + extent / 2
    return min(max(middle, least), fine - least)


@cache
def font_frame(font: str) -> Frame:
    """Compute scale and baseline at which all of the font's letters and digits fit, whatever the requested characters."""
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
    """Return the oversampling factor: small images need it for exact positions."""
    return 4 if size <= 64 else 2 if size <= 256 else 1


@cache
def _face(font: str, pixels: float) -> ImageFont.FreeTypeFont:
    """Load the font with BASIC layout: a single glyph needs no shaping, and shaping libraries differ between machines."""
    return ImageFont.truetype(str(font_path(font)), pixels, layout_engine=ImageFont.Layout.BASIC)
