"""Printed characters of a font: their order and columns, the same bytes again, and fonts or glyphs that are missing."""

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.stages.augment.raw.layouts import read_dataset
from components.stages.fetch.glyphs.fonts import font_path
from components.stages.fetch.mirrored.ink import MARGIN
from components.stages.fetch.mirrored.printed import Printed


def fetched(out, **settings):
    """(raw split, classes)."""
    fonts = [str(font_path(font)) for font in ("DejaVuSans", "DejaVuSerif")]
    block = {"source": "printed", "path": "x", "fonts": fonts, "characters": "Lk", "image_size": 25, "samples": 2, "jitter": 1}
    out.mkdir()
    Printed.fetch(parse(Printed.Settings, block | settings, "datasets.x"), out, 0, out)
    splits, classes = read_dataset(out)
    return splits["all"], classes


def test_prints_by_font_character_and_sample(tmp_path):
    split, classes = fetched(tmp_path / "a")
    assert (split.columns["font"].tolist(), split.columns["label"].tolist()) == ([0] * 4 + [1] * 4, [0, 0, 1, 1] * 2)
    assert classes["label"] == ("L", "k")
    images = np.stack(list(split.pictures()))
    assert len(np.unique(images, axis=0)) == 8
    side = round(25 * (1 - 2 * MARGIN))
    for image in images:  # the longer side of the ink fills the picture but for its margin
        extents = [np.ptp(np.flatnonzero((image > 24).any(axis))) + 1 for axis in (0, 1)]
        assert abs(max(extents) - side) <= 1
    again, _ = fetched(tmp_path / "b")
    np.testing.assert_array_equal(images, np.stack(list(again.pictures())))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"characters": "L字"}, r"no glyph for 字 \(U\+5B57\)"),
        ({"fonts": ["No Such Family"]}, "no font of the family 'No Such Family'"),
        ({"characters": "LL"}, "named twice: L"),
        ({"jitter": 0}, "jitter 0 would draw the same image"),
        ({"font_sha256": {"x": "0" * 64}}, "font_sha256: 'x' is not in fonts"),
    ],
)
def test_what_cannot_be_printed_is_named(tmp_path, settings, words):
    with pytest.raises((ValueError, SettingsError), match=words):
        fetched(tmp_path / "a", **settings)
