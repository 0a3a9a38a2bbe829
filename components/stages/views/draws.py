"""Augmentation with one seed per item, independent of the worker and of earlier draws.

albumentations 2.0.8 has one random state per pipeline, so its draws depend on the worker and on the history, and
``Compose.set_random_seed`` builds two new generators in every transform (71 us per image). Here all transforms share two
generators that are reset for each image in about 2 us: NumPy's by overwriting its state, Python's by reading numbers drawn
for the whole batch at once (seeding the Mersenne Twister and its first draw cost 6 us).
"""

from __future__ import annotations

import json
import os
import random
import warnings
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from components.core.runtime import mix
from components.serving.placement import centres_of, corners_of
from components.stages.views.frames import Arrays

OWN = "components.stages.views.rand_augment."  # module of our own transforms, in their names in policy.json
NUM_UNIFORMS = 24  # a typical policy draws 10 to 20; the image's NumPy generator provides further ones


def albumentations() -> Any:
    """Import albumentations without its check for updates and without OpenCV threads."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations
    import cv2

    cv2.setNumThreads(0)
    return albumentations


def generator(*parts: int | str) -> np.random.Generator:
    """Return NumPy's PCG64 seeded by ``runtime.mix`` of the parts: the same on every machine."""
    return np.random.Generator(np.random.PCG64(mix(*parts)))


@dataclass(frozen=True)
class Draws:
    """Random states of n images: ``states`` uint64 [n, 2] for NumPy's generator, ``uniforms`` [n, NUM_UNIFORMS]."""

    states: np.ndarray
    uniforms: np.ndarray

    @staticmethod
    def make(count: int, *parts: int | str) -> Draws:
        """Draw the states of ``count`` images: row i depends on the parts and on i only."""
        source = generator(*parts)
        numbers = source.integers(0, 2**64, size=(count, 2 + NUM_UNIFORMS), dtype=np.uint64)
        return Draws(numbers[:, :2], (numbers[:, 2:] >> np.uint64(11)) * 2.0**-53)  # 53 bits in [0, 1), as random() has

    def __getitem__(self, rows: slice) -> Draws:
        return Draws(self.states[rows], self.uniforms[rows])


class _PythonDraws(random.Random):
    """``random.Random`` that returns given numbers; ``random`` is replaced for each image."""

    def random(self) -> float:
        raise AssertionError("replaced by Augmenter; defined here so that integers, too, are drawn by random()")


def load_policy(form: dict[str, Any]) -> list[Any]:
    """Load the transforms of policy.json, without warnings about arguments, which were checked when it was written."""
    if OWN in json.dumps(form):
        import components.stages.views.rand_augment  # noqa: F401  registers its class in albumentations

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(albumentations().from_dict(form).transforms)


def load_augmenter(form: dict[str, Any], size: tuple[int, int]) -> Augmenter:
    """Load the policy of policy.json with its limits of boxes. ``size``: (height, width) of its results."""
    return Augmenter(load_policy(form), size, box_limits(form))


def box_limits(form: dict[str, Any] | None) -> dict[str, float] | None:
    """Return ``min_area`` and ``min_visibility`` of a policy with boxes, or None."""
    params = form["transform"]["bbox_params"] if form else None
    return {name: params[name] for name in ("min_area", "min_visibility")} if params else None


class Augmenter:
    """A policy as a function of images and draws. ``transforms``: from ``load_policy``.

    ``size``: (height, width) of its results, if different from the input's; ``limits``: ``min_area`` in pixels and
    ``min_visibility`` of boxes, for data with boxes.
    """

    def __init__(self, transforms: list[Any], size: tuple[int, int] | None = None, limits: dict[str, float] | None = None):
        self._transforms, self._size, self.limits = transforms, size, limits
        self._bits = np.random.PCG64(0)
        self._state = self._bits.state
        self._numpy = np.random.Generator(self._bits)
        self._python = _PythonDraws()
        for transform in transforms:
            transform.set_random_state(self._numpy, self._python)

    def __call__(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """Augment uint8 [n, H, W, C] in place. ValueError if the policy changes shape or type."""
        shape, dtype = images.shape[1:], images.dtype
        for row, (state, uniforms) in enumerate(zip(draws.states.tolist(), draws.uniforms.tolist(), strict=True)):
            self._restart(state, uniforms)
            image = images[row]
            for transform in self._transforms:  # as Compose does for images without targets, less its checks
                image = transform(image=image)["image"]
            _check_result(image, shape, dtype)
            images[row] = image
        return images

    def move(self, arrays: Arrays, draws: Draws) -> Arrays:
        """Augment images with their masks and boxes; the result may share memory with ``arrays``.

        ``image`` uint8 [n, H, W, C]; if present ``image_mask`` bool [n, H, W], and ``boxes`` float32 [n, M, 4] with
        ``box_label`` and ``box_mask`` [n, M]. Boxes that are cropped away are removed, and the rest move up.
        """
        images = arrays["image"]
        size = self._size or images.shape[1:3]
        if len(arrays) == 1 and images.shape[1:3] == size:
            return {"image": self(images, draws)}
        moved = {name: np.zeros((len(array), *array.shape[1:]), array.dtype) for name, array in arrays.items()}
        for name in {"image", "image_mask"} & set(arrays):
            moved[name] = np.zeros((len(images), *size, *arrays[name].shape[3:]), arrays[name].dtype)
        for row, (state, uniforms) in enumerate(zip(draws.states.tolist(), draws.uniforms.tolist(), strict=True)):
            self._restart(state, uniforms)
            for name, value in self._move_one({name: array[row] for name, array in arrays.items()}).items():
                if name in ("image", "image_mask"):
                    _check_result(value, moved[name].shape[1:], moved[name].dtype)
                    moved[name][row] = value
                else:
                    moved[name][row, : len(value)] = value
        return moved

    def _move_one(self, item: Arrays) -> Arrays:
        """Apply the transforms to one image as Compose does: clip and filter boxes after each."""
        data: dict[str, Any] = {"image": item["image"]}
        if "image_mask" in item:
            data["mask"] = item["image_mask"].astype(np.uint8)
        if "boxes" in item:
            data["bboxes"] = _numbered_corners(item["boxes"][item["box_mask"]])
        for transform in self._transforms:
            data = transform(**data)
            if "boxes" in item:
                data["bboxes"] = self._clip(data["bboxes"], data["image"].shape)
        moved = {"image": data["image"]}
        if "image_mask" in item:
            moved["image_mask"] = data["mask"].astype(np.bool_)
        if "boxes" in item:
            corners = data["bboxes"]
            rows = np.rint(corners[:, 4]).astype(np.int64)  # albumentations hands back floats, in an order of its own
            moved |= {"boxes": centres_of(corners[:, :4]), "box_label": item["box_label"][item["box_mask"]][rows]}
            moved["box_mask"] = np.ones(len(rows), dtype=np.bool_)
        return moved

    def _clip(self, corners: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        from albumentations.core.bbox_utils import filter_bboxes

        limits = self.limits or {}
        boxes = filter_bboxes(corners, {"height": shape[0], "width": shape[1]}, min_width=0, min_height=0, **limits)
        return boxes if len(boxes) else np.zeros((0, 5), dtype=np.float32)

    def _restart(self, state: list[int], uniforms: list[float]) -> None:
        self._state["state"]["state"] = state[0] << 64 | state[1]
        self._bits.state = self._state
        self._python.random = chain(uniforms, iter(self._numpy.random, None)).__next__  # type: ignore[method-assign]
        self._python.gauss_next = None  # type: ignore[attr-defined]  # gauss() keeps every second number


def _check_result(image: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if image.shape != shape or image.dtype != dtype:  # assigning would broadcast or cast in silence
        raise ValueError(f"the augmentation policy turned {dtype} {shape} into {image.dtype} {image.shape}")


def _numbered_corners(boxes: np.ndarray) -> np.ndarray:
    """Convert [b, 4] to float32 [b, 5]: corners and the row of the box."""
    numbers = np.arange(len(boxes), dtype=np.float32)[:, None]
    return np.ascontiguousarray(np.concatenate([corners_of(boxes), numbers], axis=1))
