"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) with the operations and scales of timm's ``rand-m9-mstd0.5-inc1``.

A transform for albumentations' pipelines; the arithmetic is Pillow's, as in timm, so that the pixels are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from pydantic import Field, StrictBool

from components.stages.views.draws import albumentations

MAX_MAGNITUDE = 10.0
Argument = float | int | None
Op = Callable[[Image.Image, Any], Image.Image]

DualTransform: Any = albumentations().DualTransform
Resampling = Image.Resampling


def _signed(value: float, source: Random) -> float:
    return -value if source.random() > 0.5 else value


def _enhancement(u: float, increasing: bool, source: Random) -> float:
    """Draw the factor of an enhancer, where 1 changes nothing: 1 +- 0.9 u, at least 0.1, or 0.1 + 1.8 u."""
    return max(0.1, 1 + _signed(0.9 * u, source)) if increasing else 0.1 + 1.8 * u


def _solarize_add(image: Image.Image, add: int) -> Image.Image:
    table = [min(255, level + add) if level < 128 else level for level in range(256)]
    return image.point(table * len(image.getbands()))


def _posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keep the highest bits, 0 to 4; none, at magnitude 10, is a black picture, which Pillow refuses to make."""
    return ImageOps.posterize(image, bits) if bits else image.point([0] * 256 * len(image.getbands()))


# Operation -> (u = magnitude / 10, increasing, source of signs) -> argument; None: it takes none.
SCALES: dict[str, Callable[[float, bool, Random], Argument]] = {
    "AutoContrast": lambda u, increasing, source: None,
    "Equalize": lambda u, increasing, source: None,
    "Invert": lambda u, increasing, source: None,
    "Rotate": lambda u, increasing, source: _signed(30 * u, source),  # degrees
    "Posterize": lambda u, increasing, source: 4 - int(4 * u) if increasing else int(4 * u),  # bits that stay
    "Solarize": lambda u, increasing, source: 256 - int(256 * u) if increasing else int(256 * u),  # threshold
    "SolarizeAdd": lambda u, increasing, source: int(110 * u),
    "Color": _enhancement,
    "Contrast": _enhancement,
    "Brightness": _enhancement,
    "Sharpness": _enhancement,
    "ShearX": lambda u, increasing, source: _signed(0.3 * u, source),
    "ShearY": lambda u, increasing, source: _signed(0.3 * u, source),
    "TranslateXRel": lambda u, increasing, source: _signed(0.45 * u, source),  # share of the side
    "TranslateYRel": lambda u, increasing, source: _signed(0.45 * u, source),
}
COLOURS: dict[str, Op] = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Posterize": _posterize,
    "Solarize": ImageOps.solarize,
    "SolarizeAdd": _solarize_add,
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
}
# Matrices of PIL's AFFINE, from output to input coordinates, of (value, width, height). Rotate has a function of its own.
SHIFTS: dict[str, Callable[[float, int, int], tuple[float, ...]]] = {
    "ShearX": lambda value, width, height: (1, value, 0, 0, 1, 0),
    "ShearY": lambda value, width, height: (1, 0, 0, value, 1, 0),
    "TranslateXRel": lambda value, width, height: (1, 0, value * width, 0, 1, 0),
    "TranslateYRel": lambda value, width, height: (1, 0, 0, 0, 1, value * height),
}


def apply_op(image: Image.Image, name: str, argument: Argument, fill: int, resample: Resampling) -> Image.Image:
    """Apply one operation to a picture in mode L or RGB. ``fill``: level outside of the picture, in every band."""
    if name in COLOURS:
        return COLOURS[name](image, argument)
    colour = fill if image.mode == "L" else (fill,) * 3
    value: Any = argument
    if name == "Rotate":
        return image.rotate(value, resample=resample, fillcolor=colour)
    matrix = SHIFTS[name](value, *image.size)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=colour)


class RandAugment(DualTransform):
    """``num_ops`` operations of 15, drawn with replacement, each applied with ``probability``.

    ``magnitude``: 0 to 10; ``std``: of the normal distribution around it, clipped to 0 to 10; ``increasing``: all operations
    grow stronger with it; ``fill``: grey level of what moves in from outside; ``p``: probability of the whole.
    An image mask moves along; boxes are refused.
    """

    class InitSchema(DualTransform.InitSchema):
        magnitude: Annotated[float, Field(ge=0, le=MAX_MAGNITUDE, strict=True)]
        std: Annotated[float, Field(ge=0, le=MAX_MAGNITUDE, strict=True)]
        num_ops: Annotated[int, Field(ge=1, le=len(SCALES), strict=True)]
        probability: Annotated[float, Field(ge=0, le=1, strict=True)]
        increasing: StrictBool
        fill: Annotated[int, Field(ge=0, le=255, strict=True)]

    def __init__(  # noqa: PLR0917 (albumentations names and orders them)
        self,
        magnitude: float = 9.0,
        std: float = 0.5,
        num_ops: int = 2,
        probability: float = 0.5,
        increasing: bool = True,
        fill: int = 128,
        p: float = 1.0,
    ):
        super().__init__(p=p)
        self.magnitude, self.std, self.num_ops = magnitude, std, num_ops
        self.probability, self.increasing, self.fill = probability, increasing, fill

    def get_params(self) -> dict[str, Any]:
        return {"ops": [op for op in (self._draw(self.py_random) for _ in range(self.num_ops)) if op]}

    def _draw(self, source: Random) -> tuple[str, Argument, Resampling] | None:
        """Draw an operation, its argument and interpolation; None if it is left out."""
        name = source.choice(list(SCALES))
        if source.random() >= self.probability:
            return None
        magnitude = min(max(source.gauss(self.magnitude, self.std) if self.std else self.magnitude, 0.0), MAX_MAGNITUDE)
        argument = SCALES[name](magnitude / MAX_MAGNITUDE, self.increasing, source)
        return name, argument, source.choice((Resampling.BILINEAR, Resampling.BICUBIC))

    def apply(self, img: np.ndarray, ops: list[tuple[str, Argument, Resampling]], **params: Any) -> np.ndarray:
        if not ops:
            return img
        image = Image.fromarray(img[..., 0] if img.shape[2] == 1 else img)
        for name, argument, resample in ops:
            image = apply_op(image, name, argument, self.fill, resample)
        return np.array(image).reshape(img.shape)

    def apply_to_mask(self, mask: np.ndarray, ops: list[tuple[str, Argument, Resampling]], **params: Any) -> np.ndarray:
        image = Image.fromarray(mask)
        for name, argument, _ in ops:
            if name not in COLOURS:
                image = apply_op(image, name, argument, 0, Resampling.NEAREST)
        return np.array(image)
