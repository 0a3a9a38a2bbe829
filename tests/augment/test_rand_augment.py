"""RandAugment: every operation against Pillow and pixel formulas, the scales, the laws of its draws, masks and boxes."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from components.core.config.strict import SettingsError, parse
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_policy
from components.stages.views.draws import Draws, load_augmenter
from components.stages.views.rand_augment import SCALES, RandAugment, Resampling, apply_op

LEVELS = np.arange(256)
SIGNED = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel", "Color", "Contrast", "Brightness", "Sharpness")
ARGUMENTS = {  # at magnitudes 0, 5, 9 and 10 with `increasing`; of signed ones the positive argument
    "AutoContrast": (None,) * 4,
    "Equalize": (None,) * 4,
    "Invert": (None,) * 4,
    "Rotate": (0, 15, 27, 30),
    "Posterize": (4, 2, 1, 0),
    "Solarize": (256, 128, 26, 0),
    "SolarizeAdd": (0, 55, 99, 110),
    "Color": (1, 1.45, 1.81, 1.9),
    "Contrast": (1, 1.45, 1.81, 1.9),
    "Brightness": (1, 1.45, 1.81, 1.9),
    "Sharpness": (1, 1.45, 1.81, 1.9),
    "ShearX": (0, 0.15, 0.27, 0.3),
    "ShearY": (0, 0.15, 0.27, 0.3),
    "TranslateXRel": (0, 0.225, 0.405, 0.45),
    "TranslateYRel": (0, 0.225, 0.405, 0.45),
}


class Sign(random.Random):
    """A source whose signs are all the same."""

    def __init__(self, positive):
        super().__init__(0)
        self.positive = positive

    def random(self):
        return 0.25 if self.positive else 0.75


@pytest.mark.parametrize("name", SCALES)
def test_magnitudes_are_scaled_as_in_timm(name):
    for magnitude, expected in zip((0, 5, 9, 10), ARGUMENTS[name], strict=True):
        found = SCALES[name](magnitude / 10, True, Sign(True))
        assert found == (None if expected is None else pytest.approx(expected))
        negative = SCALES[name](magnitude / 10, True, Sign(False))
        if name in SIGNED:
            centre = 1 if name in ("Color", "Contrast", "Brightness", "Sharpness") else 0
            assert negative == pytest.approx(max(0.1, 2 - expected) if centre else -expected)
        else:
            assert negative == found


def test_without_increasing_some_weaken_with_the_magnitude():
    weaker = {name: [SCALES[name](u, False, Sign(True)) for u in (0.25, 0.9)] for name in ("Posterize", "Solarize", "Color")}
    assert weaker == {"Posterize": [1, 3], "Solarize": [64, 230], "Color": pytest.approx([0.55, 1.72])}


def picture(mode):
    """Not full range, and not symmetric, so that every operation changes it."""
    rows, columns = np.mgrid[0:20, 0:26]
    planes = [30 + rows * 5 + columns * 2 + (rows * columns) % 7, 200 - rows * 6 + columns, 60 + (rows * columns) % 90]
    array = np.stack(planes, axis=-1).astype(np.uint8)
    return Image.fromarray(array if mode == "RGB" else array[..., 0])


def by_table(image, table):
    return np.asarray(table, dtype=np.uint8)[np.asarray(image)]


def affine(image, matrix, fill, resample):
    colour = fill if image.mode == "L" else (fill,) * 3
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=colour)


EXPECTED = {  # what the operation is, by formulas of pixels or by Pillow's own
    "AutoContrast": lambda image, argument, fill, resample: ImageOps.autocontrast(image),
    "Equalize": lambda image, argument, fill, resample: ImageOps.equalize(image),
    "Invert": lambda image, argument, fill, resample: by_table(image, 255 - LEVELS),
    "Rotate": lambda image, argument, fill, resample: image.rotate(
        argument, resample=resample, fillcolor=fill if image.mode == "L" else (fill,) * 3
    ),
    "Posterize": lambda image, argument, fill, resample: by_table(image, LEVELS - LEVELS % 2 ** (8 - argument)),
    "Solarize": lambda image, argument, fill, resample: by_table(image, np.where(argument <= LEVELS, 255 - LEVELS, LEVELS)),
    "SolarizeAdd": lambda image, argument, fill, resample: by_table(
        image, np.where(LEVELS < 128, np.minimum(LEVELS + argument, 255), LEVELS)
    ),
    "Color": lambda image, argument, fill, resample: ImageEnhance.Color(image).enhance(argument),
    "Contrast": lambda image, argument, fill, resample: ImageEnhance.Contrast(image).enhance(argument),
    "Brightness": lambda image, argument, fill, resample: ImageEnhance.Brightness(image).enhance(argument),
    "Sharpness": lambda image, argument, fill, resample: ImageEnhance.Sharpness(image).enhance(argument),
    "ShearX": lambda image, argument, fill, resample: affine(image, (1, argument, 0, 0, 1, 0), fill, resample),
    "ShearY": lambda image, argument, fill, resample: affine(image, (1, 0, 0, argument, 1, 0), fill, resample),
    "TranslateXRel": lambda image, argument, fill, resample: affine(image, (1, 0, argument * 26, 0, 1, 0), fill, resample),
    "TranslateYRel": lambda image, argument, fill, resample: affine(image, (1, 0, 0, 0, 1, argument * 20), fill, resample),
}


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("name", SCALES)
def test_every_operation_is_pillow_s(name, mode):
    image = picture(mode)
    changed = 0
    for magnitude in (0.0, 2.0, 5.0, 9.0, 9.7, 10.0):
        for resample in (Resampling.BILINEAR, Resampling.BICUBIC):
            argument = SCALES[name](magnitude / 10, True, random.Random(int(10 * magnitude)))
            found = np.asarray(apply_op(image, name, argument, 77, resample))
            np.testing.assert_array_equal(
                found, np.asarray(EXPECTED[name](image, argument, 77, resample)), err_msg=f"{magnitude}"
            )
            changed += (found != np.asarray(image)).any()
    assert changed or (name == "Color" and mode == "L")  # a grey picture has no colour


def test_draws_follow_the_settings():
    transform = RandAugment(magnitude=9.0, std=0.5, num_ops=2, probability=0.5)
    transform.set_random_state(np.random.default_rng(0), random.Random(0))
    drawn = [transform.get_params()["ops"] for _ in range(6000)]
    numbers = Counter(map(len, drawn))
    assert [numbers[n] / 6000 for n in range(3)] == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    names = Counter(name for ops in drawn for name, _, _ in ops)
    assert set(names) == set(SCALES)
    assert [count / names.total() for count in names.values()] == pytest.approx([1 / 15] * 15, abs=0.012)
    angles = np.array([argument for ops in drawn for name, argument, _ in ops if name == "Rotate"])
    assert np.abs(angles).mean() == pytest.approx(27, abs=0.3)
    assert np.abs(angles).std() == pytest.approx(1.5, abs=0.25)
    assert np.abs(angles).max() == 30, "clipped at magnitude 10"
    assert (angles > 0).mean() == pytest.approx(0.5, abs=0.08)
    resample = Counter(resample for ops in drawn for _, _, resample in ops)
    assert set(resample) == {Resampling.BILINEAR, Resampling.BICUBIC}


def policy(arguments, **view):
    block = {"dataset": "d", "image_size": 16, "channels": 3, "augment": [{"RandAugment": arguments}], **view}
    return validate_policy("v", parse(ViewSettings, block, "views.v"))


def test_a_policy_draws_by_image_alone_and_p_is_of_the_whole():
    images = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 3), dtype=np.uint8)
    form = json.loads(json.dumps(policy({"probability": 1.0, "p": 0.3, "num_ops": 1})))
    draws = Draws.make(400, 0, "train", "augment", 0)
    augmented = load_augmenter(form, (16, 16))(images.copy(), draws)
    changed = (augmented != images).any((1, 2, 3)).mean()
    assert changed == pytest.approx(0.3, abs=0.07)
    again = load_augmenter(form, (16, 16))(images[::-1].copy(), draws[::-1])[::-1]
    np.testing.assert_array_equal(again, augmented)
    other = load_augmenter(form, (16, 16))(images.copy(), Draws.make(400, 0, "train", "augment", 1))
    assert (other != augmented).any()


def test_the_defaults_are_timm_s_rand_m9_mstd_inc1():
    """Each operation with probability 0.5, and grey where nothing moves in."""
    found = policy({})["transform"]["transforms"][0]
    defaults = {"magnitude": 9.0, "std": 0.5, "num_ops": 2, "probability": 0.5, "increasing": True, "fill": 128, "p": 1.0}
    assert {name: found[name] for name in defaults} == defaults


def test_a_grey_picture_is_a_band_of_a_coloured_one():
    assert policy({}, channels=1)
    grey = np.asarray(picture("L"))[:, :, None]
    ops = [("ShearX", 0.2, Resampling.BICUBIC), ("Solarize", 90, Resampling.BICUBIC), ("Rotate", 20, Resampling.BILINEAR)]
    found = RandAugment(fill=200).apply(grey, ops=ops)
    np.testing.assert_array_equal(found, RandAugment(fill=200).apply(grey.repeat(3, axis=2), ops=ops)[..., :1])
    assert (found == 200).any()
    np.testing.assert_array_equal(RandAugment().apply(grey, ops=[]), grey)


@pytest.mark.parametrize(
    ("least", "most", "refused"),
    [
        ({"magnitude": 0}, {"magnitude": 10}, [{"magnitude": -0.1}, {"magnitude": 10.1}]),
        ({"std": 0}, {"std": 10}, [{"std": -0.1}, {"std": 10.1}]),
        ({"num_ops": 1}, {"num_ops": 15}, [{"num_ops": 0}, {"num_ops": 16}]),
        ({"probability": 0}, {"probability": 1}, [{"probability": -0.1}, {"probability": 1.1}]),
        ({"fill": 0}, {"fill": 255}, [{"fill": -1}, {"fill": 256}]),
    ],
)
def test_arguments_reach_both_limits_and_go_no_further(least, most, refused):
    assert policy(least)
    assert policy(most)
    for wrong in refused:
        with pytest.raises(SettingsError, match=rf"RandAugment: {next(iter(wrong))}: .* is not allowed"):
            policy(wrong)


def test_a_mask_moves_with_the_image_and_keeps_its_values():
    transform = RandAugment(probability=1.0, num_ops=1)
    mask = np.ones((16, 16), np.uint8)
    ops = [("TranslateXRel", 0.25, Resampling.BILINEAR), ("Invert", None, Resampling.BILINEAR)]
    moved = transform.apply_to_mask(mask, ops=ops)
    assert moved[:, :12].all()
    assert not moved[:, 12:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"magnitude": 11}, r"magnitude: 11 is not allowed"),
        ({"magnitud": 9}, r"unknown argument 'magnitud'.*did you mean 'magnitude'"),
        ({"num_ops": 0}, r"num_ops: 0 is not allowed"),
        ({"probability": 1.5}, r"probability: 1\.5 is not allowed"),
        ({"increasing": "yes"}, r"increasing: 'yes' is not allowed"),
        ({"std": -1}, r"std: -1 is not allowed"),
        ({"p": 2}, r"p: 2 is not allowed"),
    ],
)
def test_invalid_arguments_are_refused_with_their_key(arguments, message):
    with pytest.raises(SettingsError, match=rf"views\.v\.augment\.0\.RandAugment(: |\.){message}"):
        policy(arguments)


def test_boxes_are_refused():
    with pytest.raises(SettingsError, match=r"views\.v\.augment: BBoxes not implemented for RandAugment"):
        policy({}, boxes={})
