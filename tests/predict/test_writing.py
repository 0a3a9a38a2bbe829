"""Text in a translator's style: prints in their places, a hand's slant and spacing, and what a judge reads otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from components.core.config.strict import SettingsError
from components.registry.writing.hand import characters_of, read_hand, slant_of
from components.registry.writing.page import Layout, set_page
from components.registry.writing.printing import Print, printer
from components.registry.writing.reading import Reading, report
from components.registry.writing.style import write

FONT = "DejaVuSans"
SIDE = 32


class Styled:
    """A translator whose style is the mean of an example, and whose translation is the image, darker by its style."""

    def __init__(self, channels: int = 1) -> None:
        self.facts: dict[str, Any] = {"channels": channels, "domains": ["printed", "handwritten"], "image_size": SIDE}

    def styles_of(self, reference: np.ndarray, domain: np.ndarray) -> np.ndarray:
        assert domain.tolist() == [1] * len(reference)
        return reference.mean((1, 2, 3))[:, None].astype(np.float32)

    def translate(
        self, image: np.ndarray, domain: np.ndarray, *, style: Any = None, seed: int = 0, first: int = 0
    ) -> np.ndarray:
        style = np.full((len(image), 1), 10 * seed + first) if style is None else style
        return np.clip(image.astype(np.float64) - style[:, :, None, None], 0, 255).astype(np.uint8)


class Unstyled:
    """A translator without styles."""

    facts = Styled().facts
    translate = Styled.translate


def stem(slant: float, height: int = 60) -> np.ndarray:
    """Two strokes, ``slant`` pixels to the right for one upwards."""
    ink = np.zeros((height, 80), np.uint8)
    for row in range(height):
        shift = round(slant * (height / 2 - row))
        ink[row, 25 + shift : 29 + shift] = ink[row, 50 + shift : 54 + shift] = 255
    return ink


def save(path: Path, ink: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(255 - ink).save(path)


def test_a_character_that_the_font_lacks_is_named() -> None:
    for source, font in ((None, FONT), ("glyphs", FONT)):
        chosen = font if source else str(glyph_file())
        with pytest.raises(SettingsError, match=r"TEXT: .* has no glyph for 字 \(U\+5B57\)"):
            printer(chosen, source, Path(), SIDE)("A字")
    with pytest.raises(SettingsError, match=r"--font: .*no font of the family 'No Such Font'"):
        printer("No Such Font", None, Path(), SIDE)


def glyph_file() -> Path:
    from components.stages.fetch.glyphs.fonts import font_path

    return font_path(FONT)


@pytest.mark.parametrize("source", [None, "glyphs"])
def test_prints_set_in_their_places_are_the_font_s_line(source: str | None) -> None:
    """Cut to the ink and set again by their place, characters stand as the font sets them, g below the line."""
    text = "Hg, o"
    prints = printer(FONT if source else str(glyph_file()), source, Path(), 64)(text)
    page = set_page(text, prints, np.stack([p.pixels for p in prints]), Layout(em=60, columns=99), seed=0)
    assert page.dtype == np.uint8
    rows, columns = np.nonzero(page < 100)
    tops, bottoms = [], []
    for printed in (p for p in prints if p.character != ","):
        left = 60 * (0.6 + (0 if printed.character == "H" else x_of(prints, printed)))
        part = (columns >= left) & (columns < left + 60 * printed.advance)
        tops.append(rows[part].min())
        bottoms.append(rows[part].max())
    h, g, o = range(3)
    assert abs(bottoms[h] - bottoms[o]) <= 2
    assert bottoms[g] > bottoms[h] + 8
    assert tops[g] > tops[h] + 8
    assert abs(tops[g] - tops[o]) <= 2
    comma = 60 * (0.6 + x_of(prints, prints[2]))
    part = (columns >= comma) & (columns < comma + 60 * prints[2].advance)
    sheet = Image.new("L", (90, 90))
    ImageDraw.Draw(sheet).text((20, 10), ",", fill=255, font=ImageFont.truetype(str(glyph_file()), 60))
    for places, own in zip((rows, columns), np.nonzero(np.asarray(sheet) > 155), strict=True):
        assert np.ptp(places[part]) == pytest.approx(np.ptp(own), abs=2)  # as in print, though its picture is filled by it
    assert 40 <= bottoms[h] - tops[h] <= 46  # a capital is 0.73 em high


def x_of(prints: list[Print], printed: Print) -> float:
    """The pen's place in "Hg, o": a space is half an em."""
    before = prints[: prints.index(printed)]
    return sum(p.advance for p in before) + (0.5 if printed.character == "o" else 0)


def test_lines_break_at_their_end_and_at_line_breaks() -> None:
    prints = printer(str(glyph_file()), None, Path(), SIDE)("ABC")
    written = np.stack([p.pixels for p in prints])
    heights = [set_page(text, prints, written, Layout(20, columns), 0).shape[0] for text, columns in (("ABC", 9), ("AB\nC", 9))]
    assert heights[1] - heights[0] == 30
    assert set_page("ABC", prints, written, Layout(20, 2), 0).shape[0] == heights[1]


@pytest.mark.parametrize("slant", [-0.3, 0.0, 0.2])
def test_the_slant_of_strokes_is_measured_and_given_to_the_page(slant: float) -> None:
    assert slant_of([stem(slant), stem(slant, 40)]) == pytest.approx(slant, abs=0.03)
    upright = [Print("l", stem(0)[:, 10:70], 1 / 60, (0.5, 0.0), 1.0)]
    page = set_page("l", upright, np.stack([p.pixels for p in upright]), Layout(60, 9, slant=slant), 0)
    assert slant_of([255 - page]) == pytest.approx(slant, abs=0.05)
    assert np.nonzero(page < 128)[1].mean() == pytest.approx(page.shape[1] / 2, abs=1.5)  # about its centre


def test_a_hand_s_lines_give_its_characters_and_spacing(tmp_path: Path) -> None:
    """Characters of two parts stay whole; the white between characters is 0.4 of their height."""
    line = np.zeros((50, 400), np.uint8)
    for start in (5, 63, 121):
        line[5:45, start : start + 16] = line[5:45, start + 22 : start + 42] = 255
    assert [first for first, _ in characters_of(line[5:45])] == [5, 63, 121]
    save(tmp_path / "hand/line.png", line)
    save(tmp_path / "hand/one.png", stem(0.2))
    hand = read_hand(tmp_path / "hand", SIDE)
    assert (hand.samples.shape, hand.spacing) == ((4, SIDE, SIDE), pytest.approx(16 / 40, abs=0.01))
    assert hand.samples.max() == 255


@pytest.mark.parametrize(("name", "words"), [("none", "is no folder"), ("", "no picture in"), ("white", "no ink")])
def test_a_hand_without_ink_is_refused(tmp_path: Path, name: str, words: str) -> None:
    save(tmp_path / "white/1.png", np.zeros((9, 9), np.uint8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=f"--hand: .*{words}"):
        read_hand(tmp_path / (name or "empty"), SIDE)


@pytest.mark.parametrize(("bright", "channels"), [(True, 1), (False, 3)])
def test_one_style_for_the_whole_text(bright: bool, channels: int) -> None:
    prints = np.full((3, SIDE, SIDE), 200, np.uint8)
    plain = write(Styled(channels), prints, 1, samples=None, seed=2, variation=0.3, bright=bright)
    assert np.unique(plain).tolist() == [180 if bright else 220]  # one style, that of the seed; dark ink grows darker
    samples = np.stack([np.full((SIDE, SIDE), level, np.uint8) for level in (10, 30)])
    mean = write(Styled(channels), prints, 1, samples=samples, seed=0, variation=0.0, bright=True)
    assert np.unique(mean).tolist() == [180]
    varied = write(Styled(channels), prints, 1, samples=samples, seed=0, variation=1.0, bright=True)
    assert set(np.unique(varied)) <= {170, 190}
    with pytest.raises(SettingsError, match="--hand: this translator has no styles"):
        write(Unstyled(), prints, 1, samples=samples, seed=0, variation=0.0, bright=True)


def test_what_a_judge_reads_otherwise_is_named() -> None:
    lines = report([Reading("宇", "字", 0.81), Reading("一", "一", 0.99), Reading("口", None)])
    assert lines[0] == "1 of 2 characters are read as written; no class of the judge: 口"
    assert lines[1:] == ["  character 1, 宇: read as 字 (0.81)"]
