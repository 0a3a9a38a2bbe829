"""Rectangular images, images stored larger than they are shown, and pixels as a server gets them."""

import json

import numpy as np
import pytest
import torch

from components.core.batch import Stream, check, pixels_of
from components.core.config.strict import SettingsError, parse
from components.stages.augment.decode import decode, decode_file
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_policy
from components.stages.views.loader import training_batches

CROP = [{"RandomCrop": {"height": 8, "width": 10}}]


def settings(**block):
    return parse(ViewSettings, {"dataset": "d", "image_size": 16, "channels": 1, **block}, "views.v")


def pictures(arrays_out, size=(20, 30), count=12):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (count, *size), dtype=np.uint8)
    return arrays_out({"all": {"image": image, "label": np.arange(count) % 2}}, {"label": ["a", "b"]}), image


def test_equal_sides_are_a_side():
    assert settings(image_size=[16, 16]).image_size == 16
    assert settings(image_size=[16, 24]).shown == (16, 24)
    assert settings(stored_size=[32, 32], augment=CROP).stored == (32, 32)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"image_size": [16, 7]}, r"views\.v\.image_size: \[16, 7\] is not allowed: .*a side or \[height, width\]"),
        ({"image_size": [16, 16, 16]}, r"a side or \[height, width\]"),
        ({"image_size": True}, r"a side or \[height, width\]"),
        ({"stored_size": 12, "augment": CROP}, r"stored_size 12 is smaller than image_size 16"),
        ({"stored_size": 20}, r"stored_size other than image_size needs a policy"),
        ({"stored_size": 20, "augment": CROP, "copies": 1}, r"cannot be used with copies"),
    ],
)
def test_wrong_sizes_are_errors(block, message):
    with pytest.raises(SettingsError, match=message):
        settings(**block)


def test_a_policy_must_draw_the_crop():
    with pytest.raises(SettingsError, match=r"turns uint8 \(20, 20, 1\) into .*\(20, 20, 1\); uint8 \(16, 16, 1\) is needed"):
        validate_policy("v", settings(stored_size=20, augment=[{"HorizontalFlip": {}}]))
    with pytest.raises(SettingsError, match=r"when RandomResizedCrop \(entry 0\) is left out"):
        validate_policy("v", settings(stored_size=20, augment=[{"RandomResizedCrop": {"p": 0.5}}]))
    assert validate_policy("v", settings(stored_size=20, image_size=[8, 16], augment=[{"RandomResizedCrop": {}}]))
    kept = settings(stored_size=20, image_size=[8, 10], augment=CROP, corrupt=[{"CenterCrop": CROP[0]["RandomCrop"]}])
    with pytest.raises(SettingsError, match=r"views\.v\.corrupt: .*into uint8 \(8, 10, 1\)"):
        validate_policy("v", kept)


def test_fit_of_a_rectangle():
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 10:30] = 255  # the centred part of proportions 1 : 2
    cropped, placement = decode(wide, settings(image_size=[10, 20]))
    assert (cropped == 255).all()
    assert placement.part == (10, 0, 30, 10)
    padded, placement = decode(wide, settings(image_size=[20, 40], fit="pad", pad_value=7))
    assert placement.target == (0, 5, 40, 15)
    np.testing.assert_array_equal(padded[5:15, :, 0], wide)
    assert (padded[placement.mask() == 0] == 7).all()
    np.testing.assert_array_equal(decode(wide, settings(image_size=[10, 40]))[0][..., 0], wide)
    assert decode(wide, settings(image_size=[40, 10], fit="stretch"))[0].shape == (40, 10, 1)


def test_a_rectangle_from_dataset_to_batch(arrays_out, make):
    dataset, image = pictures(arrays_out)
    view = make(dataset, image_size=[20, 30], split={"test": 0.3})
    assert (view.facts.image_size, view.facts.height, view.facts.width) == ((20, 30), 20, 30)
    assert json.loads((view.folder / "view.json").read_text())["image_size"] == [20, 30]
    (batch,) = view.batches("test", 100)
    check(batch)
    assert batch["image"].shape[1:] == (1, 20, 30)
    stream = next(training_batches(view, Stream("main", 4), role="r", seed=0, start_step=0, steps=1, workers=0))
    assert stream["image"].shape == (4, 20, 30, 1)
    assert {row.tobytes() for row in stream["image"].numpy()} < {row.tobytes() for row in image}


def test_a_stored_image_is_cropped_by_the_policy_and_in_an_evaluation_by_its_centre(arrays_out, make):
    dataset, _ = pictures(arrays_out)
    view = make(dataset, image_size=[8, 10], stored_size=[20, 30], augment=CROP, split={"test": 0.3})
    stored = view.split("train").images
    assert stored.shape[1:] == (20, 30, 1)
    assert view.facts.image_size == (8, 10)
    np.testing.assert_allclose(view.facts.mean, (stored / 127.5 - 1).mean(), rtol=1e-12)
    (batch,) = view.batches("train", 100, pixels=True)
    np.testing.assert_array_equal(batch["image"], stored[:, 6:14, 10:20])
    feed = training_batches(view, Stream("main", 30), role="r", seed=0, start_step=0, steps=1, workers=0)
    corners = set()
    windows = np.lib.stride_tricks.sliding_window_view(stored[..., 0], (8, 10), axis=(1, 2))  # [N, 13, 21, 8, 10]
    for crop in next(feed)["image"].numpy()[..., 0]:
        _, top, left = np.argwhere((windows == crop).all((3, 4)))[0]
        corners.add((int(top), int(left)))
    assert len(corners) > 20, "each visit draws its own crop"


def test_a_file_is_prepared_as_an_evaluation_gets_it():
    import io

    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    block = settings(image_size=[8, 10], stored_size=[20, 30], augment=CROP)
    np.testing.assert_array_equal(decode_file(file.getvalue(), block)[..., 0], pixels[6:14, 10:20])


def test_an_evaluation_gets_the_stored_bytes(noise_out, make):
    view = make(noise_out(channels=3), channels=3, split={"test": 0.3})
    (floats,), (pixels,) = view.batches("test", 100), view.batches("test", 100, pixels=True)
    check(pixels)
    assert pixels["image"].dtype == torch.uint8
    np.testing.assert_array_equal(pixels["image"], view.split("test").images)
    np.testing.assert_array_equal(pixels_of(floats), pixels_of(pixels))


def test_means_come_from_integer_sums():
    from fractions import Fraction

    from components.stages.augment.write import statistics

    levels = np.random.default_rng(0).integers(0, 10**9, (3, 256))
    mean, std = statistics(levels)
    for c in range(3):
        number = int(levels[c].sum())
        exact = sum(Fraction(int(n)) * (Fraction(2 * v, 255) - 1) for v, n in enumerate(levels[c])) / number
        square = sum(Fraction(int(n)) * (Fraction(2 * v, 255) - 1) ** 2 for v, n in enumerate(levels[c])) / number
        assert mean[c] == float(exact), "the nearest float64, whatever the machine"
        assert std[c] == pytest.approx(float(square - exact**2) ** 0.5, rel=1e-15)
