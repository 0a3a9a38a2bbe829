"""The interface of a served translator: its requests, checked against the export, and random styles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .pixels import as_pixels

STYLE_SOURCES = ("seed", "reference", "style")


@dataclass(frozen=True)
class Request:
    """A checked request: image uint8 [N, H, W, C], target domain int64 [N], and at most one of two styles.

    ``style`` float32 [N, S]; ``reference`` uint8 [N, H, W, C]; if neither is given, styles are drawn from ``seed``.
    """

    image: np.ndarray
    domain: np.ndarray
    style: np.ndarray | None
    reference: np.ndarray | None
    seed: int


def read_export(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the facts and the signature of the export in ``folder``."""
    facts, signature = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("facts", "signature"))
    return facts, signature


def parse_request(
    facts: Mapping[str, Any], signature: Mapping[str, Any], inputs: Any, params: Mapping[str, Any] | None
) -> Request:
    """Check ``inputs`` and ``params`` of ``predict`` against the export's facts and signature; else ValueError."""
    expected = [entry["name"] for entry in signature["inputs"]]
    names = list(inputs) if isinstance(inputs, Mapping) else [type(inputs).__name__]
    optional = {"reference"}  # MLflow's signature has no optional inputs, but Python's callers may leave it out
    if set(names) | optional != set(expected) | optional or set(names) - set(expected):
        raise ValueError(
            f"the input must be a mapping with {' and '.join(expected)}, found {', '.join(map(str, names)) or 'nothing'}"
        )
    options = {entry["name"]: entry["default"] for entry in signature["params"]}
    if unknown := sorted(set(params or {}) - set(options)):
        raise ValueError(f"params: {', '.join(unknown)} is not known; allowed: {', '.join(options) or 'none'}")
    options |= params or {}
    image = as_pixels(inputs["image"], facts["image_size"], facts["channels"])
    domain = as_domains(inputs["domain"], len(image), facts["domains"])
    source = options.get("style_from", "seed")
    if source not in STYLE_SOURCES:
        raise ValueError(f"style_from: {source!r} is not allowed: {', '.join(STYLE_SOURCES)}")
    style = as_styles(options["style"], facts["style_width"], len(image)) if source == "style" else None
    reference = as_references(inputs.get("reference"), facts, len(image)) if source == "reference" else None
    return Request(image, domain, style, reference, as_seed(options.get("seed", 0)))


def as_domains(domain: Any, number: int, names: Sequence[str]) -> np.ndarray:
    """Check ``domain``; return it as int64 [number], indices of ``names``."""
    array = np.asarray(domain)
    if array.shape != (number,) or array.dtype.kind not in "iu" or not np.all((array >= 0) & (array < len(names))):
        allowed = ", ".join(f"{index} {name}" for index, name in enumerate(names))
        raise ValueError(f"domain: {number} whole numbers are expected ({allowed}), found {domain!r}")
    return array.astype(np.int64)


def as_styles(style: Any, width: int, number: int) -> np.ndarray:
    """Check one style of ``width`` numbers; repeat it for all images: float32 [number, width]."""
    array = np.asarray(style, np.float32)
    if array.shape != (width,) or not np.isfinite(array).all():
        raise ValueError(f"style: {width} finite numbers are expected, found {style!r}")
    return np.repeat(array[None], number, 0)


def as_references(reference: Any, facts: Mapping[str, Any], number: int) -> np.ndarray:
    """Check example images, one for all or one per image; return uint8 [number, H, W, C]."""
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
    """Draw from N(0, I): float32 [number, width]; row i depends only on (``seed``, ``first`` + i)."""
    rows = [np.random.default_rng((seed, first + index)).standard_normal(width) for index in range(number)]
    return np.asarray(rows, np.float32).reshape(number, width)
