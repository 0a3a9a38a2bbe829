"""Find an installed font by family, or a font file, and check its glyphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.stages.fetch.downloads.published import checksum

SUFFIXES = (".ttf", ".otf", ".ttc")
STYLES = ("Regular", "Book", "Normal", "Roman", "Medium")  # of a family, in order of preference
PACKAGES = "fonts-arphic-ukai (AR PL UKai CN), fonts-wqy-zenhei (WenQuanYi Zen Hei)"  # Debian's
NAMED = 10  # in an error


@dataclass(frozen=True)
class Face:
    """A face of a font file: a collection (.ttc) has several."""

    path: Path
    index: int = 0


def find_face(font: str, folder: Path, sha256: str | None = None) -> Face:
    """Find the face of ``font``: a family's name, or a file (relative to ``folder``, or absolute), of which the first is used.

    ValueError if it does not exist, or if the checksum of its file differs from ``sha256``.
    """
    face = Face(folder / font) if font.lower().endswith(SUFFIXES) else _installed(font)
    if not face.path.is_file():
        raise ValueError(f"font: no file {face.path}; a font that is installed is named by its family, such as 'AR PL UKai CN'")
    if sha256 is not None and (actual := checksum(face.path, sha256)) != sha256:
        raise ValueError(f"font: {face.path.name} is another edition of {font!r}: its sum is {actual}, expected {sha256}")
    return face


def _installed(family: str) -> Face:
    from matplotlib.font_manager import findSystemFonts

    candidates = []
    for path in sorted(Path(name) for name in findSystemFonts()):
        for index, face in enumerate(_faces(path)):
            if face.family_name == family:
                candidates.append((_rank(face.style_name), path.name, str(path), index))
    if not candidates:
        fault = f"font: no font of the family {family!r} is installed"
        raise ValueError(f"{fault}; Debian has {PACKAGES}; a path of a {', '.join(SUFFIXES)} file is allowed too")
    _, _, chosen, index = min(candidates)
    return Face(Path(chosen), index)


def _faces(path: Path) -> Iterator[Any]:
    """Yield the file's faces; none if it is not a readable outline font."""
    try:
        first = open_face(Face(path))
        yield first
        for index in range(1, first.num_faces):
            yield open_face(Face(path, index))
    except RuntimeError:  # FreeType's error for an unknown format
        return


def _rank(style: str) -> tuple[int, str]:
    return (STYLES.index(style) if style in STYLES else len(STYLES), style)


def open_face(face: Face) -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(face.path), face_index=face.index)


def require_glyphs(face: Face, characters: Sequence[str], font: str) -> None:
    """Raise ValueError that names the ``characters`` without a glyph in the face, instead of drawing boxes."""
    ft_face = open_face(face)
    missing = [character for character in characters if not ft_face.get_char_index(ord(character))]
    if missing:
        listed = " ".join(f"{character} (U+{ord(character):04X})" for character in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise ValueError(f"font: {font} has no glyph for {listed}{more}")
