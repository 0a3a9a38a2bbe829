"""Fonts that matplotlib ships (system fonts would differ between machines): their glyphs and names."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

REFERENCE = "DejaVuSans"  # its glyphs are named as in the Adobe glyph list

# Fonts with a reliable character map. The others (TeX's encodings, the boxes of Last Resort) map codes to other glyphs, so the
# glyph's name is checked.
UNICODE_FONTS = ("DejaVu", "STIX")

TEX_NAMES = {
    "cmr10": "Computer Modern Roman",
    "cmb10": "Computer Modern Roman, bold",
    "cmti10": "Computer Modern Roman, italic",
    "cmss10": "Computer Modern Sans",
    "cmtt10": "Computer Modern Typewriter",
    "cmmi10": "Computer Modern Math, italic",
    "cmsy10": "Computer Modern Symbols",
    "cmex10": "Computer Modern Extension",
}


def font_path(font: str) -> Path:
    """Return the path of ``font`` (a file's stem). ValueError lists the available fonts."""
    import matplotlib

    paths = {path.stem: path for path in Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf")}
    if font not in paths:
        raise ValueError(f"fonts: matplotlib ships no font {font!r}; allowed: {', '.join(sorted(paths))}")
    return paths[font]


def require_characters(font: str, characters: str) -> None:
    """Raise ValueError that names the ``characters`` without a glyph in the font, instead of drawing boxes."""
    missing = [character for character in characters if not _holds(font, character)]
    if missing:
        raise ValueError(f"fonts: {font} has no glyph for {' '.join(f'{c} (U+{ord(c):04X})' for c in missing)}")


def _holds(font: str, character: str) -> bool:
    index = _font(font).get_char_index(ord(character))
    if index == 0 or font.startswith(UNICODE_FONTS):
        return bool(index)
    name, expected = _glyph_name(font, character), _glyph_name(REFERENCE, character)
    return expected != ".notdef" and name in (expected, f"{expected}oldstyle")


def _glyph_name(font: str, character: str) -> str:
    face = _font(font)
    return str(face.get_glyph_name(face.get_char_index(ord(character))))


@cache
def _font(font: str) -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(font_path(font)))


def caption(character: str, font: str) -> str:
    """Return a caption of the image: "capital letter A in DejaVu Sans, italic"."""
    return f"{character_name(character)} in {font_name(font)}"


def character_name(character: str) -> str:
    """Return Unicode's name in sentence case: "digit 3", "small letter a", "Greek small letter alpha", "integral"."""
    name = unicodedata.name(character, f"character U+{ord(character):04X}")
    if character.isascii() and character.isalnum():
        kind = "digit" if character.isdigit() else "capital letter" if character.isupper() else "small letter"
        return f"{kind} {character}"
    script, _, rest = name.partition(" ")
    return f"{script.capitalize()} {rest.lower()}" if "LETTER" in rest else name.lower()


def font_name(font: str) -> str:
    """Return family and style: "DejaVu Serif, bold italic", "DejaVu Sans"."""
    if font in TEX_NAMES:
        return TEX_NAMES[font]
    face = _font(font)
    style = str(face.style_name).lower().replace("oblique", "italic")
    family = str(face.family_name).replace("STIXGeneral", "STIX General")
    return family if style in ("regular", "book", "display") else f"{family}, {style}"


def alphanumerics(font: str) -> Sequence[str]:
    """Return the font's characters among 0-9, A-Z, a-z, which determine its common scale."""
    return [chr(code) for code in (*range(48, 58), *range(65, 91), *range(97, 123)) if _holds(font, chr(code))]
