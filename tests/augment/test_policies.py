"""A policy is what its YAML says, or an error that names the key."""

import subprocess
import sys

import pytest

from components.core.config.strict import SettingsError, parse
from components.core.settings import ROOT
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_policy


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
    with pytest.raises(SettingsError, match=r"views\.v\.augment: Affine\.border_mode: 4 copies boxes into the border"):
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
