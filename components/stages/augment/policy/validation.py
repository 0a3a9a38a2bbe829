"""Validate an augmentation policy before any work: construction, serialisation, reproducibility, and shape of the results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.stages.augment.policy.policies import BoxSettings, Transforms, ViewSettings
from components.stages.augment.policy.transforms import build_transforms, one_line
from components.stages.views.draws import Augmenter, Draws, albumentations, load_augmenter

COPYING_BORDERS = (2, 3, 4)  # OpenCV's BORDER_REFLECT, WRAP, REFLECT_101


def validate_policy(view: str, settings: ViewSettings, boxes: bool | None = None) -> dict[str, Any] | None:
    """Return the policy of ``views.<view>.augment`` as albumentations' dict (for policy.json), or None if there is none.

    ``boxes``: whether the dataset has boxes, which the policy must support; by default, whether the view sets limits for them.
    SettingsError names the key for an unknown transform or argument, an invalid value, and a policy whose results do not have
    the view's ``image_size``, channels and type, or are not reproducible. ``views.<view>.corrupt`` is checked in the same way;
    its results have ``stored_size``.
    """
    boxes = settings.boxes is not None if boxes is None else boxes
    validate_corruption(view, settings, boxes)
    return _Check(f"views.{view}.augment", settings, boxes, settings.shown).form(settings.augment)


def validate_corruption(view: str, settings: ViewSettings, boxes: bool) -> dict[str, Any] | None:
    """Return ``views.<view>.corrupt`` as albumentations' dict, or None if it is empty.

    Raises the errors of ``validate_policy``.
    """
    always = tuple({name: _always(block) for name, block in item.items()} for item in settings.corrupt)
    return _Check(f"views.{view}.corrupt", settings, boxes, settings.stored).form(always)


def _always(block: Any) -> Any:
    """Set p of a transform to 1 by default, instead of albumentations' 0.5; non-mappings are rejected later."""
    return {"p": 1.0, **(block or {})} if isinstance(block, dict | None) else block


class _Check:
    """Checks of one list of transforms. ``key``: of the setting; ``size``: expected (height, width) of the results."""

    def __init__(self, key: str, settings: ViewSettings, boxes: bool, size: tuple[int, int]):
        self.key, self.settings, self.size = key, settings, size
        self.limits = (settings.boxes or BoxSettings()) if boxes else None

    def form(self, items: Transforms) -> dict[str, Any] | None:
        if not items:
            return None
        transforms, library = build_transforms(items, self.key, self.size), albumentations()
        if self.limits:
            self._refuse_mirrored_boxes(transforms)
        limits = library.BboxParams(format="albumentations", **self.limits.model_dump()) if self.limits else None
        try:
            form: dict[str, Any] = json.loads(json.dumps(library.Compose(transforms, bbox_params=limits).to_dict()))
        except (NotImplementedError, TypeError, ValueError) as error:
            raise SettingsError(f"{self.key}: this policy cannot be written to a file: {one_line(error)}") from None
        self._check_shapes(transforms, [next(iter(item)) for item in items])
        self._check_repeatable(transforms, form)
        return form

    def _refuse_mirrored_boxes(self, transforms: list[Any]) -> None:
        """Refuse borders that albumentations fills with copies of the picture: it copies the boxes into them as well."""
        for transform in transforms:
            self._refuse_mirrored_boxes(getattr(transform, "transforms", []))
            if getattr(transform, "border_mode", None) in COPYING_BORDERS:
                name, mode = type(transform).__name__, transform.border_mode
                raise SettingsError(f"{self.key}: {name}.border_mode: {mode} copies boxes into the border; 0 or 1 does not")

    def _example(self) -> dict[str, np.ndarray]:
        """Return one image of noise in stored size, with a mask and two boxes if the view has them; no batch axis."""
        shape = (*self.settings.stored, self.settings.channels)
        arrays: dict[str, np.ndarray] = {"image": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)}
        if self.settings.fit == "pad":
            arrays["image_mask"] = np.ones(shape[:2], dtype=np.bool_)
        if self.limits:
            boxes = np.array([[0.5, 0.5, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5]], dtype=np.float32)
            arrays |= {"boxes": boxes, "box_label": np.arange(2), "box_mask": np.ones(2, dtype=np.bool_)}
        return arrays

    def _check_shapes(self, transforms: list[Any], names: list[str]) -> None:
        """Run all transforms on noise, then all but one for each optional transform (p < 1)."""
        optional = [index for index, transform in enumerate(transforms) if transform.p < 1]
        before = self._example()["image"]
        expected = (*self.size, self.settings.channels)
        for transform in transforms:
            transform.set_random_seed(0)
        for left_out in [None, *optional]:
            used = [(index, transform) for index, transform in enumerate(transforms) if index != left_out]
            after = self._apply_all(used, names, before)
            if after.shape != expected or after.dtype != before.dtype:
                when = "" if left_out is None else f" when {names[left_out]} (entry {left_out}) is left out, as its p allows"
                same_shape = before.shape == expected
                rule = "size, channels and type must stay" if same_shape else f"{before.dtype} {expected} is needed"
                change = f"turns {before.dtype} {before.shape} into {after.dtype} {tuple(after.shape)}"
                raise SettingsError(f"{self.key}: the policy {change}{when}; {rule}")

    def _apply_all(self, transforms: list[tuple[int, Any]], names: list[str], image: np.ndarray) -> Any:
        after: Any = image
        for index, transform in transforms:
            try:
                after = transform(image=after, force_apply=True)["image"]
            except Exception as error:  # transforms raise many types on unsuitable images
                shape = " x ".join(str(size) for size in after.shape)
                raise SettingsError(
                    f"{self.key}.{index}.{names[index]}: fails on an image of {shape}: {one_line(error)}"
                ) from None
        return after

    def _check_repeatable(self, transforms: list[Any], form: dict[str, Any]) -> None:
        """Check that the same draws give the same results in another order and from the serialised policy."""
        draws = Draws.make(4, "check")

        def four() -> dict[str, np.ndarray]:
            return {name: np.stack([array] * 4) for name, array in self._example().items()}

        limits = self.limits.model_dump() if self.limits else None
        try:
            first = Augmenter(transforms, self.size, limits).move(four(), draws)
            again = load_augmenter(form, self.size).move(four(), draws[::-1])
        except Exception as error:  # as above; a composition may select another transform here
            raise SettingsError(f"{self.key}: {one_line(error)}") from None
        if not all(np.array_equal(first[name], again[name][::-1]) for name in first):
            raise SettingsError(f"{self.key}: the draws of this policy cannot be repeated from its file and a seed")
