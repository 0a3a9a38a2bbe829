"""Noise images, a sanity check for out-of-distribution detectors (no download)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from components.core.config.params import DatasetSettings
from components.core.runtime import mix
from components.stages.fetch.dataset_files import write_arrays, write_index

Kind = Literal["uniform", "gaussian", "blobs", "constant"]

STD = 64.0  # grey levels, of gaussian noise about the middle of 0..255: about 5 % of the pixels are clipped
BLOB = 1 / 12  # of the side: the standard deviation of the filter that makes blobs out of noise


class Noise:
    """Noise: grey [N, size, size] or RGB [N, size, size, 3]; label = kind; one split, "all". Order: by kind, sample.

    A sample depends on (seed, kind, index) only, so that adding kinds or samples does not change other images.
    """

    class Settings(DatasetSettings):
        """``samples`` per kind; ``kinds``: "uniform" and "gaussian" pixels, "blobs" (smooth noise), "constant" images."""

        image_size: int = Field(ge=8, le=512, description="side in pixels")
        channels: Literal[1, 3] = Field(description="1: grey, 3: RGB")
        samples: int = Field(ge=1, le=100_000, description="images per kind")
        kinds: tuple[Kind, ...] = Field(min_length=1)

        @field_validator("kinds")
        @classmethod
        def _no_kind_twice(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
            if len(set(kinds)) < len(kinds):
                raise ValueError("a kind is named twice")
            return kinds

    @staticmethod
    def fetch(settings: Noise.Settings, out: Path, seed: int, workspace: Path) -> None:
        shape = (settings.image_size, settings.image_size, settings.channels)
        images = [draw_samples(kind, settings.samples, shape, seed) for kind in settings.kinds]
        image = np.concatenate(images)[..., 0] if settings.channels == 1 else np.concatenate(images)
        label = np.repeat(np.arange(len(settings.kinds), dtype=np.int64), settings.samples)
        split = write_arrays(out, "all", {"image": image, "label": label})
        write_index(out, "arrays", {"all": split}, {"label": settings.kinds})


def draw_samples(kind: Kind, samples: int, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Draw uint8 [samples, H, W, C] of one kind."""
    generator = np.random.default_rng(mix(seed, "noise", kind))
    draw = {"uniform": uniform, "gaussian": gaussian, "blobs": blobs, "constant": constant}[kind]
    return np.stack([draw(generator, shape) for _ in range(samples)])


def uniform(generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw independent pixels, uniform over the grey levels."""
    return generator.integers(0, 256, shape, dtype=np.uint8)


def gaussian(generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw independent Gaussian pixels around middle grey, clipped."""
    return np.clip(np.rint(generator.normal(127.5, STD, shape)), 0, 255).astype(np.uint8)


def blobs(generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw smooth noise, rescaled to the whole range, 0 and 255 included."""
    from scipy.ndimage import gaussian_filter

    sigma = BLOB * shape[0]
    smooth = gaussian_filter(generator.random(shape), (sigma, sigma, 0), mode="wrap")
    low, high = smooth.min(), smooth.max()
    return np.rint((smooth - low) * (255 / (high - low))).astype(np.uint8)


def constant(generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw one grey level or colour for the whole image."""
    return np.broadcast_to(generator.integers(0, 256, (1, 1, shape[2]), dtype=np.uint8), shape)
