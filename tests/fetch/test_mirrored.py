"""Folders that only a mirror holds, and the same characters by hand and in print."""

import json
import tarfile

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from components.core.config.strict import SettingsError, parse
from components.stages.fetch.mirrored import fonts
from components.stages.fetch.mirrored.handwriting import Handwriting
from components.stages.fetch.mirrored.images import Mirrored
from components.stages.fetch.mirrored.ink import frame, read_ink, touching

FONTS = f"{matplotlib.get_data_path()}/fonts/ttf"
FONT = f"{FONTS}/DejaVuSans.ttf"
SUM = r"the sum is ([0-9a-f]{64}), expected 0{64}"


def scan(path, *, mode="L"):
    """Dark on white, with paper around it, the right half of the ink lighter; in RGBA black where it is transparent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((20, 12), 255, dtype=np.uint8)
    pixels[4:16, 3:6], pixels[4:16, 6:9] = 10, 100
    image = Image.fromarray(pixels)
    if mode == "RGBA":
        alpha = Image.fromarray(np.where(pixels < 255, 255, 0).astype(np.uint8))
        image = Image.merge("RGBA", [Image.fromarray(np.where(pixels < 255, pixels, 0).astype(np.uint8))] * 3 + [alpha])
    image.save(path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Two characters, three scans each to train on and one to test."""
    for character in "AB":
        for number, split in enumerate(("train", "train", "train", "test")):
            scan(tmp_path / "mirror" / "hand" / split / character / f"{number}.png", mode="RGBA" if number % 2 else "L")
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def settings(source, **changes):
    block = {"source": "x", "path": "x", "folder": "hand", "sha256": "0" * 64} | changes
    return parse(source.Settings, block, "datasets.x")


def pinned(source, out, **changes):
    """The settings with the sum that the error of a wrong one names."""
    with pytest.raises(ValueError, match=SUM) as caught:
        source.fetch(settings(source, **changes), out, 0, out)
    return settings(source, **changes | {"sha256": str(caught.value).split()[-3].rstrip(",")})


def handwriting(out, seed=0, **changes):
    """(split -> column -> array, class names)."""
    out.mkdir()
    block = {"font": FONT, "image_size": 32, "samples": 8, "jitter": 0.5} | changes
    Handwriting.fetch(pinned(Handwriting, out, **block), out, seed, out)
    index = json.loads((out / "dataset.json").read_text())
    loaded = {name: {key: np.load(out / file) for key, file in entry.items()} for name, entry in index["splits"].items()}
    return loaded, index["classes"]


def test_a_folder_is_packed_by_split(mirror, tmp_path):
    (tmp_path / "out").mkdir()
    Mirrored.fetch(pinned(Mirrored, tmp_path / "out", column="domain"), tmp_path / "out", 0, tmp_path)
    index = json.loads((tmp_path / "out/dataset.json").read_text())
    assert index["splits"]["test"] == {"archive": "test.tar", "column": "domain"}
    assert index["classes"] == {"domain": ["A", "B"]}
    with tarfile.open(tmp_path / "out/test.tar") as tar:
        assert tar.getnames() == ["A/3.png", "B/3.png"]


def test_scans_are_cut_to_their_ink_by_setting(mirror, tmp_path):
    """The border of a scan is no property of its character: a wider one gives the same bytes."""
    out = tmp_path / "out"
    out.mkdir()
    scan_of_b = mirror / "hand/test/B/3.png"
    wide = Image.new("L", (50, 40), 255)
    wide.paste(Image.open(scan_of_b).convert("RGBA").convert("L").point(lambda value: value or 255), (30, 5))
    wide.save(scan_of_b)
    Mirrored.fetch(pinned(Mirrored, out, column="domain", ink_size=32), out, 0, tmp_path)
    index = json.loads((out / "dataset.json").read_text())
    assert (index["layout"], index["classes"]) == ("arrays", {"domain": ["A", "B"]})
    train, test = (np.load(out / f"{split}.image.npy") for split in ("train", "test"))
    assert (train.shape, test.shape, test.dtype) == ((6, 32, 32), (2, 32, 32), np.uint8)
    assert np.load(out / "train.domain.npy").tolist() == [0, 0, 0, 1, 1, 1]
    assert np.load(out / "test.domain.npy").tolist() == [0, 1]
    assert np.array_equal(test[0], test[1])
    assert test[0][:2].max() == 0 < test[0][2:30, 10:22].min()  # paper is 0, ink bright, from margin to margin


def test_two_characters_touch_and_no_more():
    """An L and a T: the bar of the T comes over the foot of the L until it meets the stem."""
    left, right = np.zeros((2, 6, 5), dtype=np.uint8)
    left[:, 0] = left[5, :4] = 200
    right[0, :] = right[:, 2] = 100
    pair = touching(left, right)
    assert pair.shape == (6, 6)
    assert pair[0].tolist() == [200, 100, 100, 100, 100, 100]
    assert pair[5].tolist() == [200, 200, 200, 200, 0, 0]
    upper, lower = np.zeros((2, 4, 3), dtype=np.uint8)
    upper[:2], lower[2:] = 200, 100
    assert touching(upper, lower)[[0, 3]].tolist() == [[200] * 3 + [0] * 3, [0] * 3 + [100] * 3]


def test_pairs_of_scans_are_drawn_instead_of_scans(mirror, tmp_path):
    def fetched(name, seed):
        out = tmp_path / name
        out.mkdir()
        Mirrored.fetch(pinned(Mirrored, out, ink_size=32, touching_pairs=5), out, seed, tmp_path)
        return np.load(out / "test.image.npy"), np.load(out / "train.label.npy")

    images, labels = fetched("first", 0)
    assert images.shape == (5, 32, 32)
    assert len(labels) == 5
    assert set(labels) <= {0, 1}
    wide = (images[0] > 24).any(axis=0).sum() / (images[0] > 24).any(axis=1).sum()
    assert wide > 0.9, "two bars of half the height side by side"
    again, _ = fetched("again", 0)
    assert np.array_equal(images, again)
    _, others = fetched("other", 1)
    assert not np.array_equal(labels, others)
    with pytest.raises(SettingsError, match="touching_pairs needs ink_size"):
        settings(Mirrored, touching_pairs=5)


def test_the_sum_is_of_names_and_contents_of_images(mirror, tmp_path):
    first = pinned(Mirrored, tmp_path)
    (mirror / "hand" / "README.md").write_text("not an image")
    assert pinned(Mirrored, tmp_path) == first
    (mirror / "hand/train/A/0.png").rename(mirror / "hand/train/A/9.png")
    assert pinned(Mirrored, tmp_path).sha256 != first.sha256


def test_without_the_folder_the_error_says_where_it_is_looked_for(tmp_path, monkeypatch):
    told = r"hand is only in a mirror: DATA_MIRROR names no folder that holds it \(as hand/<class>/<image>"
    for place in ("", str(tmp_path), "http://127.0.0.1:9/none"):
        monkeypatch.setenv("DATA_MIRROR", place)
        with pytest.raises(ValueError, match=told):
            Mirrored.fetch(settings(Mirrored), tmp_path, 0, tmp_path)


def test_both_domains_have_every_character_in_every_split(mirror, tmp_path):
    splits, classes = handwriting(tmp_path / "out")
    assert classes == {"label": ["A", "B"], "domain": ["printed", "handwritten"]}
    assert {name: split["image"].shape for name, split in splits.items()} == {"train": (18, 32, 32), "test": (6, 32, 32)}
    assert splits["train"]["label"].tolist() == [0] * 9 + [1] * 9
    assert splits["test"]["domain"].tolist() == [0, 0, 1, 0, 0, 1]  # of 8 prints 6 to train on, as of 4 scans 3
    assert all(image.max() > 120 and image[0].max() == 0 for image in splits["train"]["image"])


def test_prints_differ_and_depend_on_seed_character_and_number_alone(mirror, tmp_path):
    def prints(name, **changes):
        splits, _ = handwriting(tmp_path / name, **changes)
        both = [splits[split]["image"][(splits[split]["domain"] == 0) & (splits[split]["label"] == 0)] for split in splits]
        return {image.tobytes() for images in both for image in images}

    eight = prints("eight")
    assert len(eight) == 8
    assert prints("again") == eight
    assert prints("twelve", samples=12) > eight
    assert not prints("other", seed=1) & eight


def test_a_scan_is_cut_to_its_ink_and_transparency_is_paper(tmp_path):
    for mode in ("L", "RGBA"):
        scan(tmp_path / f"{mode}.png", mode=mode)
    ink = read_ink(tmp_path / "L.png")
    assert (ink[0, 0], ink[5, 4], ink[5, 7]) == (0, 245, 155)
    assert np.array_equal(ink, read_ink(tmp_path / "RGBA.png"))
    framed = frame(ink, 50)  # 12 x 6 pixels of ink -> 44 x 22
    assert (np.flatnonzero(framed.any(1))[[0, -1]].tolist(), np.flatnonzero(framed.any(0))[[0, -1]].tolist()) == (
        [3, 46],
        [14, 35],
    )
    assert np.array_equal(framed, frame(np.pad(ink, ((0, 30), (7, 0))), 50))


def test_unreadable_and_empty_scans_are_named(mirror, tmp_path):
    (mirror / "hand/train/B/1.png").write_bytes(b"not an image")
    Image.new("L", (9, 9), 250).save(mirror / "hand/train/A/0.png")
    with pytest.raises(ValueError, match=r"train/A/0\.png: no ink: .*; train/B/1\.png: cannot identify"):
        handwriting(tmp_path / "out")


def test_what_the_font_lacks_is_named(mirror, tmp_path):
    scan(mirror / "hand/train/宄/1.png")
    scan(mirror / "hand/test/宄/2.png")
    with pytest.raises(ValueError, match=r"DejaVuSans\.ttf has no glyph for 宄 \(U\+5B84\)"):
        handwriting(tmp_path / "out")


def test_a_family_is_found_by_its_plainest_style(monkeypatch):
    names = [f"{FONTS}/{name}.ttf" for name in ("DejaVuSans-Bold", "DejaVuSans", "DejaVuSerif")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: names)
    assert fonts.find_face("DejaVu Sans", matplotlib.get_data_path()).path.name == "DejaVuSans.ttf"
    with pytest.raises(ValueError, match=r"'AR PL UKai CN' is installed; Debian has fonts-arphic-ukai"):
        fonts.find_face("AR PL UKai CN", matplotlib.get_data_path())


def test_another_edition_of_the_font_is_refused(mirror, tmp_path):
    with pytest.raises(ValueError, match=r"DejaVuSans\.ttf is another edition"):
        fonts.find_face("DejaVuSans.ttf", fonts.Path(FONTS), "0" * 64)
    with pytest.raises(ValueError, match=r"no file .*None\.ttf"):
        fonts.find_face("None.ttf", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"jitter": 0}, "samples 8 with jitter 0"), ({"sha256": "x"}, "sha256"), ({"folder": "../up"}, "folder")],
)
def test_settings_that_cannot_be_used(change, message):
    with pytest.raises(SettingsError, match=message):
        settings(Handwriting, **{"font": FONT, "image_size": 32, "samples": 8, "jitter": 0.5} | change)


def test_too_few_prints_and_folders_that_are_no_characters(mirror, tmp_path):
    with pytest.raises(ValueError, match="samples: 1 prints a character leave none for"):
        handwriting(tmp_path / "out", samples=1)
    scan(mirror / "hand/train/house/1.png")
    scan(mirror / "hand/test/house/2.png")
    with pytest.raises(ValueError, match="named by one character each, found: house"):
        handwriting(tmp_path / "two")
