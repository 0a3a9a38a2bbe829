"""A policy is what its YAML says, or an error that names the key."""

import subprocess
import sys

import pytest

from components.core.config.strict import SettingsError, parse
from components.core.settings import ROOT
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_policy
from components.stages.views.draws import box_limits


def check(*augment, **block):
    view = {"dataset": "d", "image_size": 16, "channels": 1, "augment": list(augment), **block}
    return validate_policy("v", parse(ViewSettings, view, "views.v"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"Afine": {}}, r"views\.v\.augment\.0: .*no transform 'Afine'; near: Affine"),
        ({"Affine": {"rotat": [-5, 5]}}, r"views\.v\.augment\.0\.Affine: unknown argument 'rotat'.*did you mean 'rotate'"),
        ({"Affine": {"rotate": "much"}}, r"views\.v\.augment\.0\.Affine: rotate: 'much' is not allowed"),
        ({"Affine": {"p": 1.5}}, r"views\.v\.augment\.0\.Affine\.p: 1\.5 is not allowed"),
        ({"RandomCrop": {"height": 8}}, r"views\.v\.augment\.0\.RandomCrop: width: missing"),
        ({"RandomCrop": {"height": 8, "width": 8}}, r"views\.v\.augment: .*turns uint8 \(16, 16, 1\) into uint8 \(8, 8, 1\)"),
        ({"Normalize": {}}, r"views\.v\.augment: .*into float32"),
        ({"ISONoise": {}}, r"views\.v\.augment\.0\.ISONoise: fails on an image of 16 x 16 x 1"),
        ({"Lambda": {}}, r"no transform 'Lambda'"),
        ({"FDA": {"metadata_key": "x"}}, r"views\.v\.augment: this policy cannot be written to a file: FDA"),
        ({"OneOf": {"p": 2, "transforms": [{"HorizontalFlip": None}]}}, r"augment\.0\.OneOf\.p: 2 is not allowed"),
        ({"OneOf": {"transforms": [{"HorizontalFlp": {}}]}}, r"augment\.0\.OneOf\.transforms\.0: .*near: HorizontalFlip"),
        ({"OneOf": {"transforms": []}}, r"augment\.0\.OneOf\.transforms: \[\] is not allowed"),
        ({"HorizontalFlip": {}, "VerticalFlip": {}}, r"augment\.0: .*one transform an entry"),
        ({"HorizontalFlip": 0.5}, r"augment\.0: .*one transform an entry"),
    ],
)
def test_a_faulty_entry_is_an_error_that_names_its_key(entry, message):
    with pytest.raises(SettingsError, match=message):
        check(entry)


@pytest.mark.parametrize("nested", [False, True])
def test_a_border_of_copies_is_refused_for_pictures_with_boxes(nested):
    """Albumentations copies the boxes into it: more of them than a view has room for."""
    turn = {"Affine": {"rotate": [-20, 20], "border_mode": 4, "p": 1.0}}
    augment = [{"OneOf": {"transforms": [turn], "p": 1.0}}] if nested else [turn]
    view = {"dataset": "d", "image_size": 8, "channels": 1, "augment": augment}
    assert validate_policy("v", parse(ViewSettings, view, "views.v"))
    for mode in (2, 3, 4):
        turn["Affine"]["border_mode"] = mode
        with pytest.raises(
            SettingsError, match=rf"views\.v\.augment: Affine\.border_mode: {mode} copies boxes into the border"
        ):
            validate_policy("v", parse(ViewSettings, view | {"boxes": {}}, "views.v"))


def test_a_size_that_depends_on_chance_is_found():
    pad, crop = {"PadIfNeeded": {"min_height": 20, "min_width": 20}}, {"RandomCrop": {"height": 16, "width": 16}}
    assert check(pad, crop)["transform"]["__class_fullname__"] == "Compose"
    with pytest.raises(SettingsError, match=r"into uint8 \(20, 20, 1\) when RandomCrop \(entry 1\) is left out"):
        check(pad, {"RandomCrop": {"height": 16, "width": 16, "p": 0.9}})


def test_the_written_policy_holds_the_values_and_no_policy_is_none():
    form = check({"Affine": {"rotate": [-10, 10], "p": 0.8}}, {"OneOf": {"transforms": [{"HorizontalFlip": None}], "p": 0.3}})
    affine, one_of = form["transform"]["transforms"]
    assert (affine["rotate"], affine["p"]) == ([-10, 10], 0.8)
    assert (one_of["p"], one_of["transforms"][0]["__class_fullname__"]) == (0.3, "HorizontalFlip")
    assert check() is None


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"image_size": 4}, r"views\.v\.image_size: 4 is not allowed"),
        ({"channels": 2}, r"views\.v\.channels: 2"),
        ({"sise": 4}, r"views\.v\.sise: unknown key"),
        ({"copies": 2}, r"views\.v: .*copies needs a policy"),
        ({"split": {"test": ["a"]}}, r"views\.v\.split.*class names need by: <column>"),
        ({"split": {"validation": 0.5, "test": 0.5}}, r"leave nothing to train on"),
        ({"split": {"test": 1.0}}, r"views\.v\.split\.test"),
        ({"split": {"test": 0.0}}, r"views\.v\.split\.test"),
    ],
)
def test_settings_are_strict(block, message):
    with pytest.raises(SettingsError, match=message):
        parse(ViewSettings, {"dataset": "d", "image_size": 16, "channels": 1, **block}, "views.v")


def test_reading_settings_imports_nothing_heavy():
    heavy = ("torch", "albumentations", "numpy")
    code = f"import sys; import components.stages.augment.policy.policies; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "least", "most", "others"),
    [
        ("image_size", 8, 1024, {}),
        ("pad_value", 0, 255, {}),
        ("max_pixels", 10_000, 178_956_970, {}),
        ("copies", 0, 100, {"augment": [{"HorizontalFlip": {}}]}),
        ("near_distance", 0, 8, {}),
        ("split.folds", 2, 100, {}),
        ("split.fold", 0, 4, {"split": {"folds": 5}}),
        ("text.context_length", 1, 4096, {}),
        ("text.vocabulary", 514, 8192, {"text": {"tokeniser": "bpe", "context_length": 3}}),
    ],
)
def test_whole_numbers_reach_both_limits_and_go_no_further(path, least, most, others):
    def found(value):
        view = {"dataset": "d", "image_size": 16, "channels": 1, **others}
        *block, key = path.split(".")
        view |= {name: view.get(name, {}) | {key: value} for name in block} or {key: value}
        settings = parse(ViewSettings, view, "views.v")
        return getattr(getattr(settings, block[0]) if block else settings, key)

    assert (found(least), found(most)) == (least, most)
    for value in (least - 1, most + 1):
        with pytest.raises(SettingsError, match=rf"views\.v\..*{value}"):
            found(value)


def test_levels_are_two_ascending_numbers_of_16_bits():
    view = {"dataset": "d", "image_size": 16, "channels": 1}
    for levels in ([0, 65535], [0, 1], [65534, 65535]):
        assert parse(ViewSettings, view | {"levels": levels}, "views.v").levels == tuple(levels)
    for levels in ([-1, 9], [9, 9], [9, 8], [0, 65536]):
        with pytest.raises(SettingsError, match="two ascending numbers from 0 to 65535 are expected"):
            parse(ViewSettings, view | {"levels": levels}, "views.v")


@pytest.mark.parametrize("background", ["white", "#fff", "#12345g", "#1234567"])
def test_a_background_is_six_hexadecimal_digits(background):
    with pytest.raises(SettingsError, match=r"views\.v\.background"):
        parse(ViewSettings, {"dataset": "d", "image_size": 16, "channels": 1, "background": background}, "views.v")


def test_a_probability_may_be_0_or_1():
    assert [check({"HorizontalFlip": {"p": p}})["transform"]["transforms"][0]["p"] for p in (0, 1)] == [0, 1]


def test_the_written_policy_holds_the_view_s_limits_of_boxes_or_the_default_ones():
    limits = {"min_area": 0.5, "min_visibility": 1.0}
    view = {"dataset": "d", "image_size": 16, "channels": 1, "augment": [{"HorizontalFlip": {}}]}
    for block, boxes, wanted in (
        ({"boxes": limits}, None, limits),
        ({"boxes": limits}, True, limits),
        ({}, True, {"min_area": 1.0, "min_visibility": 0.0}),
        ({}, None, None),
    ):
        assert box_limits(validate_policy("v", parse(ViewSettings, view | block, "views.v"), boxes)) == wanted
    for wrong in ({"min_area": 0}, {"min_visibility": -0.1}, {"min_visibility": 1.1}):
        with pytest.raises(SettingsError, match=rf"views\.v\.boxes\.{next(iter(wrong))}"):
            parse(ViewSettings, view | {"boxes": wrong}, "views.v")


def test_a_picture_is_prepared_by_the_view_s_settings_and_no_others():
    chosen = {"fit": "pad", "pad_value": 7, "background": "#102030", "levels": (5, 6), "max_pixels": 20_000, "channels": 1}
    view = {"dataset": "d", "image_size": 16, "stored_size": [20, 24], "augment": [{"RandomCrop": {"height": 16, "width": 16}}]}
    prepared = parse(ViewSettings, view | chosen, "views.v").preparation
    assert {name: getattr(prepared, name) for name in chosen} == chosen
    assert (prepared.image_size, prepared.stored_size) == ((16, 16), (20, 24))
