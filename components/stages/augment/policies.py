"""A view's settings, and its augmentation policy, checked.

Settings are read on every command, so albumentations (and with it torch) is imported inside functions only.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from components.core.strict import Name, SettingsError, Strict

Fraction = Annotated[float, Field(gt=0, lt=1)]
ClassNames = Annotated[tuple[str, ...], Field(min_length=1)]
Transforms = tuple[dict[str, Any], ...]  # - Affine: {rotate: [-10, 10], p: 0.8}


class Splits(Strict):
    """How missing splits are made out of a dataset's only split or its published training split.

    ``by: image`` takes fractions of the images, stratified by class; ``by: <column>`` holds out whole classes of the column,
    by name or as a fraction of its classes. Published splits are kept; asking for one that is published is an error.
    """

    by: str = "image"
    validation: Fraction | ClassNames | None = None
    test: Fraction | ClassNames | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Splits:
        wanted = [part for part in (self.validation, self.test) if part is not None]
        if self.by == "image" and any(isinstance(part, tuple) for part in wanted):
            raise ValueError("by: image takes fractions; class names need by: <column>")
        if sum(part for part in wanted if isinstance(part, float)) >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class ViewSettings(Strict):
    """A ``views`` block of params.yaml.

    ``image_size``: pixels of a side; ``fit``: "crop" takes the centre square, "pad" keeps all and fills with ``pad_value``,
    "stretch" ignores proportions; ``label``: the dataset's column that becomes ``label`` (it keeps its own name too);
    ``domain``: the column that becomes ``domain``, what images are translated between (a font, an animal);
    ``augment``: albumentations transforms, ``- Affine: {rotate: [-10, 10], p: 0.8}``, drawn afresh for every training image;
    ``copies``: that many augmented copies of each training image are written once, and nothing is drawn at training;
    ``corrupt``: transforms as in ``augment``, but applied once, when the view is written, to every image of every split (p is 1
    where it is left out): what is blurred or noised here stays so, and ``augment`` begins with it;
    ``unreadable`` files and ``leakage`` (equal images in two splits) are errors, or left out and counted.
    """

    dataset: Name
    image_size: int = Field(ge=8, le=1024)
    channels: Literal[1, 3]
    fit: Literal["crop", "pad", "stretch"] = "crop"
    pad_value: int = Field(default=0, ge=0, le=255)
    label: str = "label"
    domain: str = "domain"
    split: Splits = Splits()
    augment: Transforms = ()
    copies: int = Field(default=0, ge=0, le=100)
    corrupt: Transforms = ()
    unreadable: Literal["error", "skip"] = "error"
    leakage: Literal["error", "drop"] = "error"

    @model_validator(mode="after")
    def _agrees(self) -> ViewSettings:
        if self.copies and not self.augment:
            raise ValueError("copies needs a policy: augment is empty")
        return self


def validate_policy(view: str, settings: ViewSettings) -> dict[str, Any] | None:
    """The policy of ``views.<view>.augment`` as albumentations' dict (for policy.json), or None where there is none.

    SettingsError names the key for an unknown transform or argument, a bad value, and a policy that changes the image's size,
    channels or type, or whose draws cannot be repeated. ``views.<view>.corrupt`` is checked in the same way.
    """
    validate_corruption(view, settings)
    return _validated(settings.augment, f"views.{view}.augment", settings)


def validate_corruption(view: str, settings: ViewSettings) -> dict[str, Any] | None:
    """``views.<view>.corrupt`` as albumentations' dict, or None where there is nothing to corrupt by.

    Errors are those of ``validate_policy``.
    """
    always = tuple({name: _always(block) for name, block in item.items()} for item in settings.corrupt)
    return _validated(always, f"views.{view}.corrupt", settings)


def _always(block: Any) -> Any:
    """A transform's arguments, with p 1 for albumentations' own default, 0.5; what is no mapping is left to the check."""
    return {"p": 1.0, **(block or {})} if isinstance(block, dict | None) else block


def _validated(items: Transforms, key: str, settings: ViewSettings) -> dict[str, Any] | None:
    from components.stages.augment.draws import albumentations
    from components.stages.augment.transforms import build_transforms, one_line

    if not items:
        return None
    transforms = build_transforms(items, key, settings.image_size)
    try:
        form: dict[str, Any] = json.loads(json.dumps(albumentations().Compose(transforms).to_dict()))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise SettingsError(f"{key}: this policy cannot be written to a file: {one_line(error)}") from None
    _check_shapes(transforms, [next(iter(item)) for item in items], settings, key)
    _check_repeatable(transforms, form, settings, key)
    return form


def _noise(settings: ViewSettings) -> Any:
    import numpy as np

    shape = (settings.image_size, settings.image_size, settings.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _check_shapes(transforms: list[Any], names: list[str], settings: ViewSettings, key: str) -> None:
    """Run all transforms on noise, and all but one for each that may be left out (p < 1)."""
    optional = [index for index, transform in enumerate(transforms) if transform.p < 1]
    before = _noise(settings)
    for transform in transforms:
        transform.set_random_seed(0)
    for left_out in [None, *optional]:
        used = [(index, transform) for index, transform in enumerate(transforms) if index != left_out]
        after = _apply_all(used, names, before, key)
        if after.shape != before.shape or after.dtype != before.dtype:
            when = "" if left_out is None else f" when {names[left_out]} (entry {left_out}) is left out, as its p allows"
            raise SettingsError(
                f"{key}: the policy turns {before.dtype} {before.shape} into {after.dtype} {tuple(after.shape)}{when}; "
                "size, channels and type must stay"
            )


def _apply_all(transforms: list[tuple[int, Any]], names: list[str], image: Any, key: str) -> Any:
    from components.stages.augment.transforms import one_line

    for index, transform in transforms:
        try:
            image = transform(image=image, force_apply=True)["image"]
        except Exception as error:  # transforms fail in many ways on an image that they were not made for
            shape = " x ".join(str(size) for size in image.shape)
            raise SettingsError(f"{key}.{index}.{names[index]}: fails on an image of {shape}: {one_line(error)}") from None
    return image


def _check_repeatable(transforms: list[Any], form: dict[str, Any], settings: ViewSettings, key: str) -> None:
    """The same draws give the same images in another order, and from the policy as it was written."""
    import numpy as np

    from components.stages.augment.draws import Augmenter, Draws, load_policy
    from components.stages.augment.transforms import one_line

    images, draws = np.stack([_noise(settings)] * 4), Draws.make(4, "check")
    try:
        first = Augmenter(transforms)(images.copy(), draws)
        reloaded = Augmenter(load_policy(form))(images.copy(), draws[::-1])[::-1]
    except Exception as error:  # as above; a composition may have chosen another transform than when all were applied
        raise SettingsError(f"{key}: {one_line(error)}") from None
    if not np.array_equal(first, reloaded):
        raise SettingsError(f"{key}: the draws of this policy cannot be repeated from its file and a seed")
