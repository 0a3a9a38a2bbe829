"""One picture, however it is encoded, gives one array of pixels; bombs are refused before they are decoded."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import SettingsError, parse
from components.serving import decoding
from components.serving.decoding import Preparation, decode_picture, read_picture
from components.stages.augment.policy.policies import ViewSettings

RED, BLUE = (255, 0, 0), (0, 0, 255)
PREPARATION = Preparation((16, 16), (16, 16), 3)


def encoded(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def icon(mode: str) -> bytes:
    """A red disc's worth of pixels on transparent ones, in every way in which PNG expresses it."""
    solid = np.zeros((16, 16), bool)
    solid[4:12, 4:12] = True
    colours = np.where(solid[..., None], np.array(RED, np.uint8), np.array((0, 0, 0), np.uint8))
    alpha = np.where(solid, 255, 0).astype(np.uint8)
    if mode == "RGBA":
        return encoded(Image.fromarray(np.dstack([colours, alpha])))
    if mode == "RGB with tRNS":
        return encoded(Image.fromarray(colours), transparency=(0, 0, 0))
    palette = Image.fromarray(solid.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, *RED])
    return encoded(palette, "GIF" if mode == "GIF" else "PNG", transparency=0 if mode == "GIF" else bytes([0, 255]))


@pytest.mark.parametrize("mode", ["RGBA", "RGB with tRNS", "P", "GIF"])
def test_transparency_shows_the_background_whatever_its_form(mode):
    for background, colour in (("#ffffff", (255, 255, 255)), ("#0000ff", BLUE)):
        pixels = decode_picture(icon(mode), Preparation((16, 16), (16, 16), 3, background=background))
        assert pixels[0, 0].tolist() == list(colour)
        assert pixels[8, 8].tolist() == list(RED)


@pytest.mark.parametrize("mode", ["LA", "L with tRNS", "16 bits with tRNS"])
def test_grey_transparency_shows_the_background(mode):
    solid = np.zeros((16, 16), bool)
    solid[4:12] = True
    if mode == "LA":
        grey = Image.merge("LA", [Image.fromarray(np.where(solid, value, 0).astype(np.uint8)) for value in (90, 255)])
        data = encoded(grey)
    elif mode == "L with tRNS":
        data = encoded(Image.fromarray(np.where(solid, 90, 7).astype(np.uint8)), transparency=7)
    else:
        data = encoded(Image.fromarray(np.where(solid, 90 * 257, 7).astype(np.uint16)), transparency=7)
    pixels = decode_picture(data, Preparation((16, 16), (16, 16), 1, background="#808080"))
    assert (pixels[0, 0, 0], pixels[8, 8, 0]) == (128, 90)


def test_an_opaque_alpha_channel_changes_no_pixel():
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    opaque = np.dstack([colours, np.full((16, 16), 255, np.uint8)])
    for channels in (1, 3):
        preparation = Preparation((16, 16), (16, 16), channels)
        plain, alpha = (decode_picture(encoded(Image.fromarray(array)), preparation) for array in (colours, opaque))
        np.testing.assert_array_equal(plain, alpha)


def test_levels_stretch_twelve_bits_in_sixteen_and_the_maximum_is_known():
    pixels = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    data = encoded(Image.fromarray(pixels))
    stretched = decode_picture(data, Preparation((16, 16), (16, 16), 1, levels=(0, 4095)))
    np.testing.assert_array_equal(stretched[..., 0], np.rint(pixels * (255 / 4095)))
    dark = read_picture(data, Preparation((16, 16), (16, 16), 1))
    assert (dark.grey_maximum, dark.pixels.max()) == (4095, 16)
    clipped = decode_picture(data, Preparation((16, 16), (16, 16), 1, levels=(1000, 2000)))
    assert (clipped.min(), clipped.max()) == (0, 255)
    assert read_picture(icon("RGBA"), PREPARATION).grey_maximum is None


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_used_and_told(kind):
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
    many = read_picture(encoded(first, kind, save_all=True, append_images=[second], lossless=True), PREPARATION)
    one = read_picture(encoded(first, kind, lossless=True), PREPARATION)
    assert (many.several_frames, one.several_frames) == (True, False)
    assert many.pixels[8, 8].tolist() == list(RED)


@pytest.mark.parametrize("kind", [name for name in ("AVIF", "JPEG2000") if name in decoding.formats()])
def test_formats_are_known_by_content(kind):
    pixels = decode_picture(encoded(Image.new("RGB", (32, 24), RED), kind), PREPARATION)
    assert np.abs(pixels.astype(int) - RED).max() < 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "a HEIC picture; `pip install pillow-heif`"),
        (b"\n<!DOCTYPE html><html></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git-LFS pointer; `git lfs pull`"),
        (b"no picture at all", "cannot identify the file as a picture"),
    ],
)
def test_what_is_no_readable_picture_is_named(data, words):
    with pytest.raises(ValueError, match=words):
        decode_picture(data, PREPARATION)


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    monkeypatch.setattr(decoding, "MAX_JPEG_PIXELS", 400 * 300)


@pytest.mark.usefixtures("small_limit")
def test_a_photograph_above_the_limit_is_decoded_at_reduced_scale():
    left = Image.new("RGB", (400, 300), RED)
    left.paste(BLUE, (200, 0, 400, 300))
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    large = read_picture(encoded(left, "JPEG", exif=exif, quality=95), PREPARATION)
    assert large.placement.picture == (38, 50)  # 1 : 8
    assert np.abs(large.pixels[8, 1].astype(int) - BLUE).max() < 8
    for broken in (encoded(left, "JPEG", progressive=True), encoded(left, "PNG"), encoded(left.resize((401, 300)), "JPEG")):
        with pytest.raises(ValueError, match=r"40[01] x 300 pixels are more than 100,000.*max_pixels"):
            read_picture(broken, PREPARATION)
    allowed = Preparation((16, 16), (16, 16), 3, max_pixels=120_000)
    assert read_picture(encoded(left, "JPEG", progressive=True), allowed).placement.picture == (300, 400)


def test_a_preparation_survives_its_json_and_unknown_keys_are_named():
    preparation = Preparation((16, 24), (20, 28), 1, fit="pad", pad_value=7, background="#010203", levels=(0, 4095))
    assert Preparation.from_json(json.loads(json.dumps(preparation.to_json()))) == preparation
    with pytest.raises(ValueError, match="colour, image_size unknown or missing; the keys are image_size, "):
        Preparation.from_json({"colour": 3, "stored_size": [1, 1], "channels": 1})


def test_a_views_settings_give_its_preparation():
    block = {"dataset": "d", "image_size": [16, 24], "channels": 3, "fit": "pad", "levels": [0, 4095]}
    preparation = parse(ViewSettings, block, "views.v").preparation
    assert preparation == Preparation((16, 24), (16, 24), 3, fit="pad", levels=(0, 4095))
    for key, value in {"background": "white", "levels": [4095, 0], "max_pixels": 10**9}.items():
        with pytest.raises(SettingsError, match=f"views.v.*{key}"):
            parse(ViewSettings, block | {key: value}, "views.v")
