"""Evaluation of a StyleGAN2: sheets, and figures of samples beside real images on the features of a linked classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from components.core.batch import Split, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.families.stylegan2.latent import path_length, separability
from components.families.stylegan2.sheets import (
    THIRDS,
    draw,
    interpolation_sheet,
    labels_in_turn,
    mixing_sheet,
    projection_sheet,
    samples_sheet,
    truncation_sheet,
)
from components.metrics.features import squared_distances
from components.metrics.samples.generated import better, check_judge, classes_of_judge, compare, conditional
from components.metrics.sheets import sheet
from components.serving.loading import load_served

if TYPE_CHECKING:
    from components.core.artifact import Artifact

NEIGHBOURS = 16  # rows of the sheet of nearest images


class Settings(Strict):
    """The ``evaluate`` block. Figures need a link ``classifier`` (a classification run) at stage evaluate."""

    split: Literal["train", "validation", "test"] = Field(
        default="train", description="the real images; of train ones the nearest neighbours show what was learnt by heart"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the samples")
    samples: int = Field(default=1000, ge=6, le=1_000_000, description="images drawn for the figures")
    truncation: float = Field(default=1.0, ge=0, le=2, description="of the sheet of samples; figures are without truncation")
    dimensions: int | None = Field(default=None, ge=1, description="to which PCA reduces wider features")
    rows: int = Field(default=6, ge=2, le=32, description="of the sheets")
    projections: int = Field(default=4, ge=0, le=64, description="real images projected into W for a sheet; 0: none")
    projection_steps: int = Field(default=200, ge=1, le=10_000, description="updates of each projection")


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Sheets of samples and of the latent space; with a linked classifier all figures."""
    block, split = settings.evaluate, splits["main"]
    real = np.concatenate([pixels_of(batch) for batch in split])
    report = Report({})
    add_sheets(report, served, real, block)
    if "classifier" in links:
        add_figures(report, served, real, block, links["classifier"])
    return report


def add_sheets(report: Report, served: Any, real: np.ndarray, settings: Settings) -> None:
    rows, seed = settings.rows, settings.seed
    report.pictures["samples"] = samples_sheet(served, rows, seed, settings.truncation)
    report.pictures["truncation"] = truncation_sheet(served, rows, seed)
    report.pictures["interpolation"] = interpolation_sheet(served, rows, seed)
    for third in THIRDS:
        report.pictures[f"mixing_{third}"] = mixing_sheet(served, rows, seed, third)
    if settings.projections:
        index = np.linspace(0, len(real) - 1, min(settings.projections, len(real))).astype(int)
        report.pictures["projection"] = projection_sheet(served, real[index], settings.projection_steps, seed)


def add_figures(report: Report, served: Any, real: np.ndarray, settings: Settings, link: Artifact) -> None:
    """Distances of samples and real images, class balance, nearest neighbours, and figures of the latent space."""
    classifier, name = load_served(link.path), link.path.name
    check_judge(served.facts, classifier.facts)
    images = draw(served, settings.samples, seed=settings.seed)
    theirs, ours = classifier.scores(real), classifier.scores(images)
    figures = compare(theirs["features"], ours["features"], name, settings.dimensions)
    label = labels_in_turn(served, len(images))
    if label is not None:
        known = classes_of_judge(served.facts["classes"], list(classifier.facts["classes"]), name)[label]
        figures |= conditional(ours["logits"], ours["features"], known, name)
    found = {key: Metric(value, better(key)) for key, value in figures.items()}
    judged = [scores["logits"].argmax(1) for scores in (theirs, ours)]
    found[f"class_imbalance_{name}"] = Metric(imbalance(judged[0], judged[1], len(classifier.facts["classes"])), "min")
    nearest, ratio = neighbours(ours["features"], theirs["features"])
    found[f"neighbour_ratio_{name}"] = Metric(ratio, "max")
    found[f"path_length_{name}"] = Metric(path_length(served, classifier, settings), "min")
    if (separate := separability(served, judged[1], settings)) is not None:
        found[f"separability_{name}"] = Metric(separate, "min")
    report.metrics.update(found)
    report.tables["classes"] = balance_table(judged[0], judged[1], classifier.facts["classes"])
    pairs = np.stack([images[:NEIGHBOURS], real[nearest[:NEIGHBOURS]]], axis=1)
    report.pictures["nearest"] = sheet(pairs.reshape(-1, *images.shape[1:]), 2)


def imbalance(real: np.ndarray, made: np.ndarray, classes: int) -> float:
    """Total variation between the judged classes of real and of made images: 0 as balanced as the real ones, 1 disjoint."""
    shares = [np.bincount(found, minlength=classes) / len(found) for found in (real, made)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def balance_table(real: np.ndarray, made: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """A row per class: the share of real and of made images that the judge reads as it."""
    counts = [np.bincount(found, minlength=len(classes)) / len(found) for found in (real, made)]
    return [{"class": name, "real": float(counts[0][k]), "made": float(counts[1][k])} for k, name in enumerate(classes)]


def neighbours(made: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, float]:
    """The nearest real image of each made one, int64 [m], and the median distance to it over the real images' own median.

    A ratio far below 1 says that samples are copies; about 1 is as far as real images are from each other.
    """
    blocks = list(squared_distances(made.astype(np.float64), real.astype(np.float64)))
    nearest = np.concatenate([block.argmin(1) for block in blocks])
    distance = np.sqrt(np.concatenate([block.min(1) for block in blocks]))
    own = np.random.default_rng(0).permutation(len(real))[:1000]
    rows = np.concatenate(list(squared_distances(real[own].astype(np.float64), real.astype(np.float64))))
    among = np.sqrt(np.partition(rows, 1, axis=1)[:, 1])
    return nearest, float(np.median(distance) / max(float(np.median(among)), 1e-12))


def check(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """ValueError if the linked run is no classifier, or was trained on the very features that it is to measure."""
    scorer = linked.get("evaluate", {}).get("classifier")
    if scorer and scorer.recipe not in ("classification", "noisy_classifier"):
        raise ValueError(
            f"evaluate: the link classifier leads to {scorer.name!r}, a {scorer.recipe} run, which is no classifier"
        )
    for role, backbone in linked.get("train", {}).items():
        if scorer and role.startswith("backbone") and backbone.name == scorer.name:
            fault = "the metric would be the loss; link another classifier"
            raise ValueError(f"evaluate: the link classifier leads to {scorer.name!r}, the {role} of the training: {fault}")
