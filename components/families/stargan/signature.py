"""Signature and example of an exported StarGAN: a target domain per image, or target attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.core.batch import Batch, ViewFacts, pixels_of
from components.families.stargan.labels import Labels
from components.translation import interface


def signature_of(view: ViewFacts, datasets: Sequence[Labels]) -> dict[str, Any]:
    """Image and target domain; with attributes the target labels [N, K] of one data set, and ``flip``, one to be flipped."""
    known = interface.signature(view, style_width=0)
    if not any(labels.several for labels in datasets):
        return known
    image, width = known["inputs"][0], len(datasets[0].names) if len(datasets) == 1 else -1
    params: list[dict[str, Any]] = [{"name": "flip", "dtype": "str", "default": ""}]
    params += [{"name": "dataset", "dtype": "int64", "default": 0}] if len(datasets) > 1 else []
    labels = {"name": "labels", "dtype": "float32", "shape": [-1, width]}
    return {"inputs": [image, labels], "outputs": known["outputs"], "params": params}


def example_of(batch: Batch, datasets: Sequence[Labels]) -> dict[str, np.ndarray]:
    """Images of a batch, each into the domain after its own, or with its first attribute flipped."""
    if not any(labels.several for labels in datasets):
        return interface.example(batch, 0, len(datasets[0].names))
    first = datasets[0]
    if not first.several:
        return {"image": pixels_of(batch), "labels": np.eye(len(first.names), dtype=np.float32)[batch["domain"].numpy()]}
    labels = batch["labels"].numpy().copy()
    labels[:, 0] = 1 - labels[:, 0]
    return {"image": pixels_of(batch), "labels": labels}
