"""Printed characters as a translator was trained on, with their place on the line, which its pictures leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.core.config.strict import SettingsError
from components.stages.fetch.glyphs import drawing as glyph_drawing
from components.stages.fetch.glyphs.fonts import font_path, require_characters
from components.stages.fetch.mirrored.fonts import Face, find_face, require_glyphs
from components.stages.fetch.mirrored.ink import MARGIN
from components.stages.fetch.mirrored.printing import print_character

UNITS = 300  # pixels an em at which fonts are measured
EXACT = np.zeros(5)  # a pose


@dataclass(frozen=True)
class Print:
    """A printed character: ``pixels`` uint8 [side, side], ink bright on 0.

    ``scale``: em per pixel; ``centre``: of the picture, (right, down) in em from the pen's place on the baseline; ``advance``:
    em from there to the next character's.
    """

    character: str
    pixels: np.ndarray
    scale: float
    centre: tuple[float, float]
    advance: float


def printer(font: str, source: str | None, folder: Path, side: int) -> Callable[[str], list[Print]]:
    """Return a function that prints a text's characters, without line breaks, as the data set's ``source`` draws them.

    SettingsError for a font that is not there, and, from the function, for characters that it lacks.
    """
    try:
        if source == "glyphs":
            face, require = Face(font_path(font)), lambda text: require_characters(font, text)
            one = lambda character, pen: _of_glyphs(font, character, side, pen)  # noqa: E731
        else:
            face = find_face(font, folder)
            require, one = (
                lambda text: require_glyphs(face, text, font),
                lambda character, pen: _framed(face, character, side, pen),
            )
    except ValueError as error:
        raise SettingsError(f"--font: {error}") from None
    pen = ImageFont.truetype(str(face.path), UNITS, index=face.index, layout_engine=ImageFont.Layout.BASIC)

    def print_text(text: str) -> list[Print]:
        written = list(dict.fromkeys(character for character in text if not character.isspace()))
        try:
            require("".join(written))
            prints = {character: one(character, pen) for character in written}
        except ValueError as error:
            raise SettingsError(f"TEXT: {error}") from None
        return [prints[character] for character in text if not character.isspace()]

    return print_text


def _framed(face: Face, character: str, side: int, pen: ImageFont.FreeTypeFont) -> Print:
    """Draw as the source ``handwriting``: cut to the ink, whose longer side fills the picture but for its margin."""
    left, top, right, bottom = ink_box(character, pen)
    scale = max(right - left, bottom - top) / (side * (1 - 2 * MARGIN))
    centre = ((left + right) / 2, (top + bottom) / 2)
    pixels = print_character(face, character, side, EXACT)
    return Print(character, pixels, scale, centre, pen.getlength(character) / UNITS)


def ink_box(character: str, pen: ImageFont.FreeTypeFont) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the ink in em from the pen's place. ``getbbox`` covers the advance as well."""
    sheet = Image.new("L", (3 * UNITS, 3 * UNITS), 0)
    ImageDraw.Draw(sheet).text((UNITS, 2 * UNITS), character, fill=255, font=pen, anchor="ls")
    box = sheet.getbbox()
    if box is None:
        raise ValueError(f"{character!r} leaves no ink in the font")
    return (box[0] / UNITS - 1, box[1] / UNITS - 2, box[2] / UNITS - 1, box[3] / UNITS - 2)


def _of_glyphs(font: str, character: str, side: int, pen: ImageFont.FreeTypeFont) -> Print:
    """Draw as the source ``glyphs``: all characters at one scale, on one baseline."""
    frame = glyph_drawing.font_frame(font)
    left, _, right, _ = (value / UNITS for value in pen.getbbox(character, anchor="ls"))
    pixels = glyph_drawing.draw(font, character, side, glyph_drawing.Pose())
    centre = ((left + right) / 2, (0.5 - frame.baseline) / frame.em)
    return Print(character, pixels, 1 / (frame.em * side), centre, pen.getlength(character) / UNITS)
