"""The border of a served translator: which images, into which domains, in what style; and styles drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .pixels import as_pixels

SOURCES = ("seed", "reference", "style")  # where a style comes from


@dataclass(frozen=True)
class Asked:
    """What ``predict`` was asked: image uint8 [N, H, W, C], target domain int64 [N], and at most one of two styles.

    ``style`` float32 [N, S]; ``reference`` uint8 [N, H, W, C]; neither: styles of ``seed``.
    """

    image: np.ndarray
    domain: np.ndarray
    style: np.ndarray | None
    reference: np.ndarray | None
    seed: int


def asked(facts: Mapping[str, Any], signature: Mapping[str, Any], inputs: Any, params: Mapping[str, Any] | None) -> Asked:
    """``inputs`` and ``params`` of ``predict``, checked against the export's facts and signature; ValueError in words."""
    wanted = [entry["name"] for entry in signature["inputs"]]
    given = list(inputs) if isinstance(inputs, Mapping) else [type(inputs).__name__]
    optional = {"reference"}  # MLflow's signature knows none, but Python's callers may leave it out
    if set(given) | optional != set(wanted) | optional or set(given) - set(wanted):
        raise ValueError(
            f"the input must be a mapping with {' and '.join(wanted)}, found {', '.join(map(str, given)) or 'nothing'}"
        )
    told = {entry["name"]: entry["default"] for entry in signature["params"]}
    if strange := sorted(set(params or {}) - set(told)):
        raise ValueError(f"params: {', '.join(strange)} is not known; allowed: {', '.join(told) or 'none'}")
    told |= params or {}
    image = as_pixels(inputs["image"], facts["image_size"], facts["channels"])
    domain = as_domains(inputs["domain"], len(image), facts["domains"])
    source = told.get("style_from", "seed")
    if source not in SOURCES:
        raise ValueError(f"style_from: {source!r} is not allowed: {', '.join(SOURCES)}")
    style = one_style(told["style"], facts["style_width"], len(image)) if source == "style" else None
    reference = references(inputs.get("reference"), facts, len(image)) if source == "reference" else None
    return Asked(image, domain, style, reference, as_seed(told.get("seed", 0)))


def as_domains(domain: Any, number: int, names: Sequence[str]) -> np.ndarray:
    """``domain`` as int64 [number], each the index of one of ``names``."""
    array = np.asarray(domain)
    if array.shape != (number,) or array.dtype.kind not in "iu" or not np.all((array >= 0) & (array < len(names))):
        meant = ", ".join(f"{index} {name}" for index, name in enumerate(names))
        raise ValueError(f"domain: {number} whole numbers are expected ({meant}), found {domain!r}")
    return array.astype(np.int64)


def one_style(style: Any, width: int, number: int) -> np.ndarray:
    """One style of ``width`` numbers for all images: float32 [number, width]."""
    array = np.asarray(style, np.float32)
    if array.shape != (width,) or not np.isfinite(array).all():
        raise ValueError(f"style: {width} finite numbers are expected, found {style!r}")
    return np.repeat(array[None], number, 0)


def references(reference: Any, facts: Mapping[str, Any], number: int) -> np.ndarray:
    """Example images, one for all or one an image: uint8 [number, H, W, C]."""
    if reference is None:
        raise ValueError("reference: style_from is 'reference', and there is no such input")
    array = as_pixels(reference, facts["image_size"], facts["channels"], "reference")
    if len(array) not in (1, number):
        raise ValueError(f"reference: 1 or {number} images are expected, found {len(array)}")
    return np.repeat(array, number, 0) if len(array) != number else array


def as_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: a whole number of at least 0 is expected, found {seed!r}")
    return int(seed)


def random_styles(number: int, width: int, seed: int, first: int = 0) -> np.ndarray:
    """N(0, I), float32 [number, width]: row i is that of stream (``seed``, ``first`` + i), whatever it is asked with."""
    rows = [np.random.default_rng((seed, first + index)).standard_normal(width) for index in range(number)]
    return np.asarray(rows, np.float32).reshape(number, width)
