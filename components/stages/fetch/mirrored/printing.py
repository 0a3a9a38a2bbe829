"""Draw printed characters with simulated variations of pressure and page alignment."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.core.runtime import mix
from components.stages.fetch.mirrored.fonts import Face
from components.stages.fetch.mirrored.ink import frame

FINE = 3  # pixels an em drawn for one of the image's side: frame() then shrinks, it never blows up
ROTATION = math.radians(6)  # jitter 1: at most, each way
SLANT = 0.15  # jitter 1: at most, each way; pixels to the right for one upwards
STRETCH = 0.12  # jitter 1: width to height by at most this much more or less
STROKE = 0.025  # jitter 1: at most this fraction of an em added around the outline
CONTRAST = 0.4  # jitter 1: the ink's brightness 0.6 .. 1


def draw_poses(character: str, samples: int, seed: int) -> np.ndarray:
    """Draw float64 [samples, 5] in -1..1, for jitter 1. Row i depends on (seed, character, i) only."""
    return np.random.default_rng(mix(seed, "print", character)).uniform(-1, 1, size=(samples, 5))


def print_character(face: Face, character: str, side: int, pose: np.ndarray) -> np.ndarray:
    """Draw uint8 [side, side], ink bright on 0; ``pose`` 0: exact. ValueError if the character has no ink."""
    rotation, slant, stretch, stroke, contrast = (float(number) for number in pose)
    sheet = _turn(_sheet(face, character, side, abs(stroke)), rotation * ROTATION, slant * SLANT, 1 + stretch * STRETCH)
    return np.rint(frame(np.asarray(sheet), side) * (1 - abs(contrast) * CONTRAST)).astype(np.uint8)


def _sheet(face: Face, character: str, side: int, stroke: float) -> Image.Image:
    """Draw the character upright, its box centred in a square of two em."""
    em = FINE * side
    width, font = stroke * STROKE * em, _font(face, em)
    left, top, right, bottom = font.getbbox(character, anchor="ls", stroke_width=width)
    origin = (em - (left + right) / 2, em - (top + bottom) / 2)
    sheet = Image.new("L", (2 * em, 2 * em), 0)
    ImageDraw.Draw(sheet).text(origin, character, fill=255, font=font, anchor="ls", stroke_width=width)
    return sheet


def _turn(sheet: Image.Image, rotation: float, slant: float, stretch: float) -> Image.Image:
    """Slant, stretch, then rotate counter-clockwise, all about the centre."""
    cos, sin = math.cos(rotation), math.sin(rotation)
    # The inverse map, from the result to the source: the three inverted in the opposite order; y points down.
    a, b = cos / stretch + slant * sin, -sin / stretch + slant * cos
    middle = sheet.width / 2
    matrix = (a, b, middle * (1 - a - b), sin, cos, middle * (1 - sin - cos))
    return sheet.transform(sheet.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


@cache
def _font(face: Face, pixels: int) -> ImageFont.FreeTypeFont:
    """Load the font with BASIC layout: a single glyph needs no shaping, and shaping libraries differ between machines."""
    return ImageFont.truetype(str(face.path), pixels, index=face.index, layout_engine=ImageFont.Layout.BASIC)
