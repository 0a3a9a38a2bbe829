"""Evaluation of a PixelCNN: exact likelihoods, a sheet of samples, and a sheet of completed images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from components.core.batch import Split, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.metrics.per_image import bits_per_dimension
from components.metrics.sheets import sheet

if TYPE_CHECKING:
    from components.core.artifact import Artifact

COMPLETIONS = 6  # of each image of the sheet


class Settings(Strict):
    """``split``: the images that are scored. ``samples`` and ``completions``: number of images on the two sheets."""

    split: Literal["train", "validation", "test"] = "test"
    samples: int = Field(default=64, ge=1, le=1024)
    completions: int = Field(default=8, ge=1, le=128)
    temperature: float = Field(default=1.0, gt=0, description="of both sheets; logits are divided by it")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the samples and completions")


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Exact likelihoods of the main view in eval mode, samples, and completions of upper halves."""
    scores, facts = score(served, splits["main"]), splits["main"].facts
    nats = -scores["log_likelihood"].astype(np.float64)
    bits = bits_per_dimension(nats, math.prod(scores["image"].shape[1:]))
    classes = facts.classes.get("label", ()) if "label" in scores else ()
    of_class = {name: nats[scores["label"] == k] for k, name in enumerate(classes)}
    rows = [{"class": name, "images": len(n), "nats_per_image": float(n.mean())} for name, n in of_class.items() if len(n)]
    samples = draw_samples(served, settings.evaluate)
    completions = draw_completions(served, scores, settings.evaluate)
    columns = len(served.facts["classes"]) or math.isqrt(len(samples) - 1) + 1
    return Report(
        metrics={
            "nats_per_image": Metric(float(nats.mean()), "min"),
            "bits_per_dim": Metric(float(bits.mean()), "min"),
        },
        tables={"per_class": rows} if rows else {},
        pictures={
            "samples": sheet(samples, columns=columns),
            "completions": sheet(completions.reshape(-1, *completions.shape[2:]), columns=completions.shape[1]),
        },
        items={"nats_per_image": nats, "bits_per_dim": bits},
        groups=scores.get("label"),
        group_names=tuple(classes),
    )


def score(served: Any, split: Split) -> dict[str, np.ndarray]:
    """log_likelihood float32 [N], the quantised image uint8 [N, H, W, C], and label int64 [N] if the view has classes."""
    scores: dict[str, list[np.ndarray]] = {}
    for batch in split:
        label = {"label": batch["label"].numpy()} if "label" in batch else {}
        for name, array in (served.score(pixels_of(batch), label.get("label")) | label).items():
            scores.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays) for name, arrays in scores.items()}


def draw_samples(served: Any, settings: Settings) -> np.ndarray:
    """uint8 [samples, H, W, C]; a conditional network is asked for its classes in turn."""
    classes = served.facts["classes"]
    label = np.arange(settings.samples) % len(classes) if classes else None
    samples: np.ndarray = served.sample(settings.samples, label=label, seed=settings.seed, temperature=settings.temperature)
    return samples


def draw_completions(served: Any, scores: dict[str, np.ndarray], settings: Settings) -> np.ndarray:
    """uint8 [n, 2 + COMPLETIONS, H, W, C]: an image, its upper half (the rest grey), and completions of the lower half."""
    whole = scores["image"][: settings.completions]
    known = np.arange(whole.shape[1]) < whole.shape[1] // 2
    given = np.where(known[:, None, None], whole, np.uint8(128))
    repeated = np.repeat(whole, COMPLETIONS, axis=0)
    label = np.repeat(scores["label"][: len(whole)], COMPLETIONS) if served.facts["classes"] else None
    upper = np.broadcast_to(known[:, None], repeated.shape[:3])
    completed = served.complete(repeated, upper, label=label, seed=settings.seed, temperature=settings.temperature)
    return np.concatenate([whole[:, None], given[:, None], completed.reshape(-1, COMPLETIONS, *whole.shape[1:])], axis=1)
