"""Omniglot: the sets' archives, unpacked; images that two sets share are taken once."""

import hashlib
import io
import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import SettingsError, parse
from components.stages.fetch import omniglot
from components.stages.fetch.omniglot import FOLDER, Omniglot

MIRROR = os.environ.get("DATA_MIRROR")
SETS = ["background_small1", "background_small2"]


def settings(**changes):
    return parse(Omniglot.Settings, {"source": "omniglot", "path": "x", "sets": SETS} | changes, "datasets.x")


def fetch(out, **changes):
    out.mkdir()
    Omniglot.fetch(settings(**changes), out, 0, out)
    return json.loads((out / "dataset.json").read_text()), np.load(out / "all.image.npy")


def drawing(row, size=105, mode="1"):
    """A PNG: white, with a black line along ``row``."""
    image = Image.new(mode, (size, size), 1 if mode == "1" else 255)
    image.paste(0, (0, row, size, row + 1))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put archives of {set: {name: PNG}} into a mirror, and their sums into the table."""

    def write(sets):
        folder = tmp_path / "mirror" / FOLDER
        folder.mkdir(parents=True)
        for name, images in sets.items():
            with zipfile.ZipFile(folder / f"images_{name}.zip", "w") as archive:
                archive.writestr(f"images_{name}/", b"")
                for path, png in images.items():
                    archive.writestr(f"images_{name}/{path}", png)
            digest = hashlib.md5((folder / f"images_{name}.zip").read_bytes()).hexdigest()
            monkeypatch.setitem(omniglot.MD5, name, digest)
        monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))

    return write


SHARED = {"Greek/character02/0395_01.png": drawing(2)}
SMALL = {
    "background_small1": {"Latin/character01/0683_01.png": drawing(1), **SHARED},
    "background_small2": {**SHARED, "Greek/character01/0394_02.png": drawing(4), "Greek/character01/0394_01.png": drawing(3)},
}


def test_images_in_the_order_of_their_names_shared_ones_once(tmp_path, publish):
    publish(SMALL)
    index, image = fetch(tmp_path / "out")
    assert index["classes"] == {
        "label": ["Greek/character01", "Greek/character02", "Latin/character01"],
        "alphabet": ["Greek", "Latin"],
    }
    assert np.load(tmp_path / "out/all.label.npy").tolist() == [0, 0, 1, 2]
    assert np.load(tmp_path / "out/all.alphabet.npy").tolist() == [0, 0, 0, 1]
    assert (image.shape, image.dtype, np.unique(image).tolist()) == ((4, 105, 105), np.uint8, [0, 255])
    assert [int((picture == 0).all(1).argmax()) for picture in image] == [3, 4, 2, 1]  # where the ink is
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "all.alphabet.npy",
        "all.image.npy",
        "all.label.npy",
        "dataset.json",
    ]


def test_inverted_ink_is_bright_on_black(tmp_path, publish):
    publish(SMALL)
    np.testing.assert_array_equal(fetch(tmp_path / "i", invert=True)[1], 255 - fetch(tmp_path / "p")[1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "no image images_<set>"),
        ({"A/c/1.png": drawing(1, size=28)}, r"1\.png: mode 1, 28 x 28; expected 1, 105 x 105"),
        ({"A/c/1.png": drawing(1, mode="L")}, r"1\.png: mode L"),
        ({"../1.png": b""}, "leads out of the folder"),
    ],
)
def test_archives_of_another_form_are_refused(tmp_path, publish, images, message):
    publish({"background_small1": images})
    with pytest.raises(ValueError, match=message):
        fetch(tmp_path / "out", sets=["background_small1"])


def test_one_name_for_two_images_is_refused(tmp_path, publish):
    publish({"background_small1": {"A/c/1.png": drawing(1)}, "background_small2": {"A/c/1.png": drawing(2)}})
    with pytest.raises(ValueError, match=r"1\.png and .*1\.png differ"):
        fetch(tmp_path / "out")


@pytest.mark.parametrize(("sets", "message"), [(["small1"], "sets.0: 'small1'"), ([], "sets"), (SETS * 2, "named twice")])
def test_settings_that_cannot_be_used(sets, message):
    with pytest.raises(SettingsError, match=message):
        settings(sets=sets)


@pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set")
def test_real_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", MIRROR)
    index, image = fetch(tmp_path / "out")
    assert image.shape == (4840, 105, 105)  # 2,720 + 3,120 images, of which 1,000 in both
    assert len(index["classes"]["label"]) == 242
    assert 0.9 < (image == 255).mean() < 0.99  # ink black on white
