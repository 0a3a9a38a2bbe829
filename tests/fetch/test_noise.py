"""Noise: each kind is what it says, drawn from the seed alone."""

import json

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.stages.fetch.noise import Noise

KINDS = ["uniform", "gaussian", "blobs", "constant"]


def settings(**changes):
    block = {"source": "noise", "path": "x", "image_size": 16, "channels": 1, "samples": 20, "kinds": KINDS}
    return parse(Noise.Settings, block | changes, "datasets.x")


def fetch(out, seed=0, **changes):
    out.mkdir()
    Noise.fetch(settings(**changes), out, seed, out)
    return np.load(out / "all.image.npy"), np.load(out / "all.label.npy")


@pytest.fixture
def noise(tmp_path):
    return fetch(tmp_path / "out")


def test_arrays_say_what_was_drawn(tmp_path, noise):
    image, label = noise
    assert (image.shape, image.dtype) == ((80, 16, 16), np.uint8)
    assert label.tolist() == [kind for kind in range(4) for _ in range(20)]
    assert json.loads((tmp_path / "out/dataset.json").read_text())["classes"] == {"label": KINDS}


def test_each_kind_has_its_own_statistics(noise):
    image, label = noise
    uniform, gaussian, blobs, constant = (image[label == kind].astype(float) for kind in range(4))
    assert uniform.std() == pytest.approx(255 / np.sqrt(12), rel=0.03)
    assert gaussian.mean() == pytest.approx(127.5, abs=4)
    assert gaussian.std() == pytest.approx(64, rel=0.1)
    assert blobs.min((1, 2)).tolist() == [0] * 20
    assert blobs.max((1, 2)).tolist() == [255] * 20
    steps = [np.abs(np.diff(images)).mean() for images in (uniform, blobs)]
    assert steps[1] < 0.5 * steps[0]  # neighbours resemble each other
    assert constant.std((1, 2)).max() == 0
    assert len(np.unique(constant[:, 0, 0])) > 10


def test_a_sample_depends_on_seed_kind_and_number_alone(tmp_path, noise):
    image, label = noise
    fewer, _ = fetch(tmp_path / "fewer", samples=5, kinds=["blobs", "uniform"])
    np.testing.assert_array_equal(fewer[:5], image[label == 2][:5])
    np.testing.assert_array_equal(fewer[5:], image[label == 0][:5])
    assert not np.array_equal(fetch(tmp_path / "other", seed=1)[0][0], image[0])


def test_colour(tmp_path):
    image, label = fetch(tmp_path / "rgb", channels=3)
    assert image.shape == (80, 16, 16, 3)
    assert image[label == 3].std((1, 2)).max() == 0
    assert image[label == 3].std(3).max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kinds": ["white"]}, r"kinds\.0: 'white'"), ({"kinds": []}, "kinds"), ({"kinds": ["blobs", "blobs"]}, "named twice")],
)
def test_settings_that_cannot_be_used(change, message):
    with pytest.raises(SettingsError, match=message):
        settings(**change)
