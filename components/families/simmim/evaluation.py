"""Evaluation of masked image modelling: the error on masked pixels, against predictions that need no network, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from components.core.batch import Split, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.metrics.sheets import sheet

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.families.simmim.served import Served

GREY = 128  # of masked pixels in pictures
BASELINES = {"mean of the training images": "zero", "mean of the image": "mean", "median of the image": "median"}


class Settings(Strict):
    """``split``: the images that are scored. ``seed``: of their masks. ``pictures``: rows of the sheet."""

    split: Literal["train", "validation", "test"] = "test"
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the masks")
    pictures: int = Field(default=8, ge=1, le=256, description="rows of (original, masked, rebuilt)")


def evaluate(served: Served, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """L1 of masked pixels of standardised images, as in the training, by a mask per image that depends on its place alone."""
    options, errors, rows, first = settings.evaluate, dict[str, list[np.ndarray]](), list[np.ndarray](), 0
    for batch in splits["main"]:
        pixels = pixels_of(batch)
        mask = masks(served.facts["cells"], options.seed, range(first, first + len(pixels)))
        rebuilt = served.rebuild(pixels, mask)
        for name, prediction in {"network": rebuilt, **baselines(pixels, served.facts)}.items():
            errors.setdefault(name, []).append(masked_l1(served, pixels, prediction, mask))
        wanted = max(0, options.pictures - first)
        rows += triples(served, pixels[:wanted], mask[:wanted])
        first += len(pixels)
    each = {name: np.concatenate(parts) for name, parts in errors.items()}
    network, median = float(each["network"].mean()), float(each["median"].mean())
    table = [{"prediction": "network", "masked_l1": network}]
    table += [{"prediction": words, "masked_l1": float(each[name].mean())} for words, name in BASELINES.items()]
    return Report(
        metrics={"masked_l1": Metric(network, "min"), "share_of_median": Metric(network / median, "min")},
        tables={"baselines": table},
        pictures={"original_masked_rebuilt": sheet(np.stack(rows), columns=3)},
        items={"masked_l1": each["network"]},
    )


def masks(cells: dict[str, int], seed: int, images: range) -> np.ndarray:
    """bool [N, cells]: of each image, by its number, a random permutation's first cells."""
    chosen = np.zeros((len(images), cells["rows"] * cells["columns"]), bool)
    for row, image in zip(chosen, images, strict=True):
        row[np.random.default_rng((seed, image)).permutation(len(row))[: cells["masked"]]] = True
    return chosen


def baselines(pixels: np.ndarray, facts: dict[str, Any]) -> dict[str, np.ndarray]:
    """Predictions [N or 1, C, 1, 1] in [-1, 1]: the view's mean, and mean and median of each image, masked pixels included."""
    unit = to_unit(pixels)
    return {
        "zero": np.asarray(facts["mean"]).reshape(1, -1, 1, 1),
        "mean": unit.mean((2, 3), keepdims=True),
        "median": np.median(unit, axis=(2, 3), keepdims=True),
    }


def masked_l1(served: Served, pixels: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean absolute error of the masked pixels in units of the standard deviation, float64 [N]."""
    where = served.masked_pixels(mask).transpose(0, 3, 1, 2)  # [N, 1, H, W]
    std = np.asarray(served.facts["std"]).reshape(1, -1, 1, 1)
    difference = np.abs(to_unit(pixels) - prediction) / std
    total: np.ndarray = (difference * where).sum((1, 2, 3)) / (where.sum((1, 2, 3)) * pixels.shape[-1])
    return total


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] -> float64 [N, C, H, W] in [-1, 1]."""
    unit: np.ndarray = pixels.transpose(0, 3, 1, 2) / 127.5 - 1
    return unit


def triples(served: Served, pixels: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Original, masked and rebuilt picture of each image, in this order: uint8 [H, W, C] each."""
    if len(pixels) == 0:
        return []
    hidden = np.where(served.masked_pixels(mask), np.uint8(GREY), pixels)
    rebuilt = served.predict({"image": pixels, "mask": mask})["reconstruction"]
    return [picture for three in zip(pixels, hidden, rebuilt, strict=True) for picture in three]
