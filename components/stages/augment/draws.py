"""Augmentation draws that are functions of a seed an item, never of who draws them or what was drawn before.

albumentations 2.0.8 keeps one random state a pipeline, so its draws depend on the worker and on the history, and
``Compose.set_random_seed`` builds two new generators in every transform (71 us an image). Here all transforms share two
generators that start afresh for each image in about 2 us: NumPy's by overwriting its state, Python's by reading numbers drawn
for the whole batch at once (seeding the Mersenne Twister and its first draw cost 6 us).
"""

from __future__ import annotations

import os
import random
import warnings
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from components.core.runtime import mix

NUM_UNIFORMS = 24  # a usual policy draws 10 to 20 of them; after these, the image's NumPy generator goes on


def albumentations() -> Any:
    """The module, imported so that it asks no server for news and starts no threads of its own."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations
    import cv2

    cv2.setNumThreads(0)
    return albumentations


def generator(*parts: int | str) -> np.random.Generator:
    """NumPy's PCG64 seeded by ``runtime.mix`` of the parts: the same on every machine."""
    return np.random.Generator(np.random.PCG64(mix(*parts)))


@dataclass(frozen=True)
class Draws:
    """What a sequence of n images draws from: ``states`` uint64 [n, 2] for NumPy's draws, ``uniforms`` [n, NUM_UNIFORMS]."""

    states: np.ndarray
    uniforms: np.ndarray

    @staticmethod
    def make(count: int, *parts: int | str) -> Draws:
        """For the images of the sequence that ``parts`` name: row i depends on the parts and on i only."""
        source = generator(*parts)
        numbers = source.integers(0, 2**64, size=(count, 2 + NUM_UNIFORMS), dtype=np.uint64)
        return Draws(numbers[:, :2], (numbers[:, 2:] >> np.uint64(11)) * 2.0**-53)  # 53 bits in [0, 1), as random() has

    def __getitem__(self, rows: slice) -> Draws:
        return Draws(self.states[rows], self.uniforms[rows])


class _PythonDraws(random.Random):
    """``random.Random`` that reads given numbers; ``random`` is replaced for each image."""

    def random(self) -> float:
        raise AssertionError("replaced by Augmenter; defined here so that integers, too, are drawn by random()")


def load_policy(form: dict[str, Any]) -> list[Any]:
    """The transforms of policy.json. ``to_dict`` writes arguments that some constructors warn about; all was checked then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(albumentations().from_dict(form).transforms)


class Augmenter:
    """A policy as a function of images and draws. ``transforms``: its list, as ``load_policy`` gives it."""

    def __init__(self, transforms: list[Any]):
        self._transforms = transforms
        self._bits = np.random.PCG64(0)
        self._state = self._bits.state
        self._numpy = np.random.Generator(self._bits)
        self._python = _PythonDraws()
        for transform in transforms:
            transform.set_random_state(self._numpy, self._python)

    def __call__(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """uint8 [n, H, W, C], augmented in place. ValueError if the policy changes shape or type."""
        shape, dtype = images.shape[1:], images.dtype
        for row, (state, uniforms) in enumerate(zip(draws.states.tolist(), draws.uniforms.tolist(), strict=True)):
            self._restart(state, uniforms)
            image = images[row]
            for transform in self._transforms:  # as Compose does for an image alone, less its checks
                image = transform(image=image)["image"]
            if image.shape != shape or image.dtype != dtype:  # assigning would broadcast or cast in silence
                raise ValueError(f"the augmentation policy turned {dtype} {shape} into {image.dtype} {image.shape}")
            images[row] = image
        return images

    def _restart(self, state: list[int], uniforms: list[float]) -> None:
        self._state["state"]["state"] = state[0] << 64 | state[1]
        self._bits.state = self._state
        self._python.random = chain(uniforms, iter(self._numpy.random, None)).__next__  # type: ignore[method-assign]
        self._python.gauss_next = None  # type: ignore[attr-defined]  # gauss() keeps every second number
