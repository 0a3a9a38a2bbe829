"""What the translating recipes ask of their data, and the border of what they serve."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.core.batch import Batch, ViewFacts, to_pixels

LEAST = 2  # domains: there is nothing to translate between in one


def domains_of(view: ViewFacts) -> tuple[str, ...]:
    """The names of the view's domains; ValueError where there are none, or one."""
    names = view.classes.get("domain", ())
    if not names:
        columns = ", ".join(sorted(view.classes)) or "none"
        fault = f"view {view.name!r} has no domains to translate between"
        raise ValueError(f"{fault}: name a column as views.{view.name}.domain; it has {columns}")
    if len(names) < LEAST:
        raise ValueError(f"view {view.name!r} has one domain, {names[0]}: to translate there must be another")
    return names


def check_batch(batch_size: int, processes: int, domains: int) -> None:
    """ValueError where a process's share of the batch cannot hold each domain equally often."""
    share = batch_size // processes
    if share % domains:
        each = f" for each of {processes} processes" if processes > 1 else ""
        fault = f"train.batch_size: {batch_size} is not allowed: a multiple of the {domains} domains{each} is needed"
        raise ValueError(f"{fault}; the next is {processes * (share + -share % domains)}")


def signature(view: ViewFacts, style_width: int) -> dict[str, Any]:
    """Image and target domain; with styles a reference too, which counts where ``style_from`` says so."""
    image = {"dtype": "uint8", "shape": [-1, view.image_size, view.image_size, view.channels]}
    guided = [{"name": "reference", **image}] if style_width else []
    params = [
        {"name": "style_from", "dtype": "str", "default": "seed"},
        {"name": "seed", "dtype": "int64", "default": 0},
        {"name": "style", "dtype": "float64", "default": [], "shape": [-1]},
    ]
    return {
        "inputs": [{"name": "image", **image}, {"name": "domain", "dtype": "int64", "shape": [-1]}, *guided],
        "outputs": [{"name": "image", **image}],
        "params": params if style_width else [],
    }


def example(batch: Batch, style_width: int, domains: int) -> dict[str, np.ndarray]:
    """Inputs of ``predict``: the images of a batch, each into the domain after its own, guided by itself."""
    image, domain = to_pixels(batch["image"]), (batch["domain"].numpy() + 1) % domains
    return {"image": image, "domain": domain} | ({"reference": image} if style_width else {})
