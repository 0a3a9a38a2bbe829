"""What translators require of their data, and the interface of what they serve."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from components.core.batch import Batch, ViewFacts, pixels_of

MIN_DOMAINS = 2
EVALUATION_ROLES = ("domains", "content", "modes", "alexnet", "lpips")  # links to judges


def _check_betas(betas: tuple[float, float]) -> tuple[float, float]:
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError("at least 0 and below 1")
    return betas


Betas = Annotated[tuple[float, float], AfterValidator(_check_betas)]  # Adam's decay rates


def domains_of(view: ViewFacts) -> tuple[str, ...]:
    """Names of the view's domains; ValueError if it has fewer than two."""
    names = view.classes.get("domain", ())
    if not names:
        columns = ", ".join(sorted(view.classes)) or "none"
        fault = f"view {view.name!r} has no domains to translate between"
        raise ValueError(f"{fault}: name a column as views.{view.name}.domain; it has {columns}")
    if len(names) < MIN_DOMAINS:
        raise ValueError(f"view {view.name!r} has one domain, {names[0]}: to translate there must be another")
    return names


def check_batch(batch_size: int, processes: int, domains: int) -> None:
    """Raise ValueError unless each process's share of the batch holds all domains equally often."""
    share = batch_size // processes
    if share % domains:
        each = f" for each of {processes} processes" if processes > 1 else ""
        fault = f"train.batch_size: {batch_size} is not allowed: a multiple of the {domains} domains{each} is needed"
        raise ValueError(f"{fault}; the next is {processes * (share + -share % domains)}")


def signature(view: ViewFacts, style_width: int) -> dict[str, Any]:
    """Image and target domain; with styles also a reference, which is used if ``style_from`` says so."""
    image = {"dtype": "uint8", "shape": [-1, view.image_size, view.image_size, view.channels]}
    reference = [{"name": "reference", **image}] if style_width else []
    params = [
        {"name": "style_from", "dtype": "str", "default": "seed"},
        {"name": "seed", "dtype": "int64", "default": 0},
        {"name": "style", "dtype": "float64", "default": [], "shape": [-1]},
    ]
    return {
        "inputs": [{"name": "image", **image}, {"name": "domain", "dtype": "int64", "shape": [-1]}, *reference],
        "outputs": [{"name": "image", **image}],
        "params": params if style_width else [],
    }


def example(batch: Batch, style_width: int, domains: int) -> dict[str, np.ndarray]:
    """Inputs of ``predict``: the images of a batch, each into the domain after its own, with itself as reference."""
    image, domain = pixels_of(batch), (batch["domain"].numpy() + 1) % domains
    return {"image": image, "domain": domain} | ({"reference": image} if style_width else {})
