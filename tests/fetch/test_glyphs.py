"""Characters drawn from fonts: the same bytes everywhere, independent of their neighbours, readable, never clipped or boxed."""

import json
import string
import subprocess
import sys

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.core.settings import ROOT
from components.stages.fetch.glyphs import source as glyphs
from components.stages.fetch.glyphs.drawing import Pose, draw, draw_pose
from components.stages.fetch.glyphs.fonts import caption, require_characters
from components.stages.fetch.glyphs.source import Glyphs, draw_samples

ALPHANUMERIC = string.digits + string.ascii_letters
FONTS = (
    "DejaVuSans",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
    "STIXGeneral",
    "cmr10",
    "cmti10",
    "cmtt10",
)


def settings(**changes):
    block = {
        "source": "glyphs",
        "path": "x",
        "image_size": 20,
        "fonts": ["DejaVuSans", "cmr10"],
        "characters": "aBc",
        "samples": 4,
        "jitter": 1.0,
    }
    return parse(Glyphs.Settings, block | changes, "datasets.x")


def fetched(folder, seed=0, **changes):
    folder.mkdir()
    Glyphs.fetch(settings(**changes), folder, seed, folder)
    index = json.loads((folder / "dataset.json").read_text())
    split = index["splits"]["all"]
    return index, {column: np.load(folder / split[column]) for column in ("image", "label", "font")}, folder


def box(image):
    """top, bottom, left, right of the ink, ends included."""
    rows, columns = np.flatnonzero(image.max(1) > 30), np.flatnonzero(image.max(0) > 30)
    return rows[0], rows[-1], columns[0], columns[-1]


def exact(character, font="DejaVuSans", size=64):
    return draw(font, character, size, Pose())


def test_arrays_say_what_was_drawn(tmp_path):
    index, arrays, folder = fetched(tmp_path / "a")
    assert index["layout"] == "arrays"
    assert index["classes"] == {"font": ["DejaVuSans", "cmr10"], "label": ["a", "B", "c"]}
    assert arrays["image"].shape == (2 * 3 * 4, 20, 20)
    assert arrays["image"].dtype == np.uint8
    assert arrays["label"].tolist() == [i for _ in range(2) for i in range(3) for _ in range(4)]
    assert arrays["font"].tolist() == [0] * 12 + [1] * 12
    text = json.loads((folder / "all.text.json").read_text())
    assert (text[0], text[-5]) == ("small letter a in DejaVu Sans", "capital letter B in Computer Modern Roman")


def test_another_process_draws_the_same_bytes(tmp_path):
    _, _, here = fetched(tmp_path / "here", seed=3)
    code = (
        "import json, sys; from pathlib import Path; from components.stages.fetch.glyphs.source import Glyphs; "
        "out = Path(sys.argv[1]); out.mkdir(); Glyphs.fetch(Glyphs.Settings.model_validate_json(sys.argv[2]), out, 3, out)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there"), settings().model_dump_json()], check=True, cwd=ROOT)
    for path in here.iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name


def test_more_fonts_characters_and_samples_change_no_image(tmp_path):
    _, few, _ = fetched(tmp_path / "few")
    _, many, _ = fetched(tmp_path / "many", fonts=["cmtt10", "DejaVuSans", "cmr10"], characters="xaBWc", samples=6)
    for font in range(2):
        for few_label, many_label in ((0, 1), (1, 2), (2, 4)):
            before = few["image"][(few["font"] == font) & (few["label"] == few_label)]
            after = many["image"][(many["font"] == font + 1) & (many["label"] == many_label)]
            np.testing.assert_array_equal(before, after[:4])


def test_seed_changes_every_character(tmp_path):
    _, one, _ = fetched(tmp_path / "one", seed=1)
    _, two, _ = fetched(tmp_path / "two", seed=2)
    assert np.all(np.any(one["image"] != two["image"], axis=(1, 2)))


def test_fonts_characters_and_samples_have_poses_of_their_own(tmp_path, monkeypatch):
    poses = []
    monkeypatch.setattr(
        glyphs, "draw", lambda _font, _character, size, pose: poses.append(pose) or np.zeros((size, size), np.uint8)
    )
    fetched(tmp_path / "a")
    assert len(set(poses)) == 2 * 3 * 4
    assert {pose.scale < 1 for pose in poses} == {True, False}
    assert all(0.9 <= pose.scale <= 1.1 and 0.6 <= pose.contrast <= 1 and abs(pose.rotation) <= 0.1746 for pose in poses)


def test_samples_with_jitter_are_hardly_ever_equal():
    images = draw_samples(settings(samples=200, image_size=16, jitter=0.3), "DejaVuSans", "l", 0)
    assert len(np.unique(images.reshape(200, -1), axis=0)) >= 199


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("pair", ["cC", "oO", "sS", "vV", "xX", "zZ"])
def test_small_and_capital_letters_differ_in_height_on_one_baseline(font, pair):
    (small_top, small_bottom, *_), (capital_top, capital_bottom, *_) = (box(exact(letter, font)) for letter in pair)
    assert abs(small_bottom - capital_bottom) <= 2
    assert (small_bottom - small_top) < 0.85 * (capital_bottom - capital_top)


def test_descender_reaches_below_the_baseline():
    assert box(exact("p"))[1] > box(exact("P"))[1] + 6


def test_zero_jitter_is_centred_bright_and_exact():
    image = exact("H")
    _, _, left, right = box(image)
    assert abs(left - (63 - right)) <= 1
    assert image.max() >= 250
    assert image.min() == 0
    pose = draw_pose(np.random.default_rng(0), 0.0)
    np.testing.assert_array_equal(draw("DejaVuSans", "H", 64, pose), image)


@pytest.mark.parametrize("font", FONTS)
def test_no_ink_touches_the_border(font):
    generator = np.random.default_rng(0)
    for character in "WMQgjy@" if font.startswith("DejaVu") else "WMQgjy":
        image = draw(font, character, 32, draw_pose(generator, 1.0))
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert border.max() <= 60, character


@pytest.mark.parametrize("character", "WQgjÅЩ∰")
@pytest.mark.parametrize("side", [-0.06, 0.06])
def test_strongest_pose_stays_inside(character, side):
    pose = Pose(shift=(side, side), rotation=side * 2.9, scale=1.1, stroke=0.02)
    image = draw("DejaVuSans-Bold", character, 64, pose)
    assert max(image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max()) <= 20


def test_ink_is_that_of_the_plain_drawing():
    """Moved and turned, the glyph keeps its amount of ink: nothing is cut off on the way."""
    plain = exact("g").astype(float).sum()
    turned = draw("DejaVuSans", "g", 64, Pose(shift=(0.05, -0.05), rotation=0.17)).astype(float).sum()
    assert turned == pytest.approx(plain, rel=0.01)
    larger = draw("DejaVuSans", "g", 64, Pose(scale=1.1)).astype(float).sum()
    assert larger == pytest.approx(plain * 1.21, rel=0.02)


def test_rotation_is_counter_clockwise():
    image = draw("DejaVuSans", "l", 64, Pose(rotation=0.17))
    top, bottom, *_ = box(image)
    assert image[top + 3].argmax() < image[bottom - 3].argmax()


@pytest.mark.parametrize("size", [8, 17, 65, 257, 512])
def test_any_size(size):
    image = draw("STIXGeneral", "R", size, Pose())
    assert image.shape == (size, size)
    assert image.mean() == pytest.approx(exact("R", "STIXGeneral", 64).mean(), rel=0.06)


@pytest.mark.parametrize("font", FONTS)
def test_alphanumerics_are_62_different_images(font):
    require_characters(font, ALPHANUMERIC)
    images = np.stack([exact(character, font, 28) for character in ALPHANUMERIC])
    assert len(np.unique(images.reshape(62, -1), axis=0)) == 62


@pytest.mark.parametrize(
    ("font", "characters", "missing"),
    [
        ("cmr10", "Aα", r"α \(U\+03B1\)"),
        ("cmr10", "A<", r"< \(U\+003C\)"),  # the code draws an inverted exclamation mark there
        ("cmsy10", "Aa", r"a \(U\+0061\)"),
        ("cmex10", "A", "A"),
        ("LastResortHE-Regular", "A", "A"),  # it has a box for everything
        ("DejaVuSans", "A漢", "漢"),
    ],
)
def test_font_without_the_character_is_an_error(tmp_path, font, characters, missing):
    with pytest.raises(ValueError, match=f"{font} has no glyph for {missing}"):
        Glyphs.fetch(settings(fonts=[font], characters=characters), tmp_path, 0, tmp_path)


def test_greek_cyrillic_and_symbols():
    require_characters("DejaVuSans", "αβγΩЖщя∞∑€Å")
    require_characters("STIXGeneral", "αβγΩ∞∑")
    assert exact("Ж").max() > 200


def test_unknown_font_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"ships no font 'Arial'; allowed: .*DejaVuSans, .*cmr10"):
        require_characters("Arial", "A")


@pytest.mark.parametrize(
    ("character", "font", "expected"),
    [
        ("A", "DejaVuSans-Oblique", "capital letter A in DejaVu Sans, italic"),
        ("7", "DejaVuSerif-BoldItalic", "digit 7 in DejaVu Serif, bold italic"),
        ("α", "STIXGeneral", "Greek small letter alpha in STIX General"),
        ("∫", "DejaVuSansMono", "integral in DejaVu Sans Mono"),
    ],
)
def test_captions(character, font, expected):
    assert caption(character, font) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 7}, "image_size: 7"),
        ({"image_size": 513}, "image_size: 513"),
        ({"jitter": 1.5}, "jitter: 1.5"),
        ({"fonts": []}, "fonts"),
        ({"fonts": ["cmr10", "cmr10"]}, "named twice: cmr10"),
        ({"characters": "aba"}, "named twice: a"),
        ({"characters": "a b"}, r"draw nothing: U\+0020"),
        ({"characters": "e\u0301"}, r"draw nothing: U\+0301"),
        ({"characters": 123}, "characters: 123"),
        ({"jitter": 0}, "the same image again"),
        ({"image_sizes": 3}, "did you mean 'image_size'"),
    ],
)
def test_settings_that_cannot_be_used(change, message):
    with pytest.raises(SettingsError, match=message):
        settings(**change)
