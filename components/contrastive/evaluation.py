"""Evaluate a model of pictures and texts: retrieval, zero-shot classification, linear probe, concept matching."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from components.contrastive.probe import Features, linear_probe
from components.contrastive.prompts import Prompts
from components.contrastive.retrieval import Embedded, add_retrieval, embed, sheet_of_captions
from components.contrastive.zero_shot import Choice, classify
from components.core.batch import pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.core.view_split import ViewSplit
from components.metrics.concept_matching import maximum_concept_matching
from components.metrics.detection import auroc, fpr95_in_positive

if TYPE_CHECKING:
    from components.core.artifact import Artifact

OUTSIDE = "ood_"  # beginning of the role of a view that is out of distribution


class ZeroShot(Prompts):
    """Classes of a column, told apart by their names: a row of figures."""

    view: str = Field(default="main", min_length=1, description="main, or the role of a link to a view at stage evaluate")
    column: str = Field(default="label", min_length=1, description="the view's column with the classes")
    exclude: tuple[str, ...] = Field(default=(), description="classes that are no choice, and whose images are not scored")


class Settings(Strict):
    """``split``: which images of the views are scored, with all their captions."""

    split: Literal["train", "validation", "test"] = "test"
    recall_at: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1, description="k of the recall, both ways")
    zero_shot: tuple[ZeroShot, ...] = Field(default=(), description="columns whose classes are told apart by their names")
    linear_probe: tuple[str, ...] = Field(
        default=(), description="columns of the run's view that a logistic regression on frozen features tells apart"
    )
    calibration_bins: int = Field(default=15, ge=1, le=100, description="of the expected calibration error")
    mcm_temperature: float = Field(default=1.0, gt=0, description="of maximum concept matching (Ming et al. 2022: 1)")
    captions: int = Field(default=8, ge=1, le=64, description="on the sheet of captions and their best pictures")

    @field_validator("zero_shot")
    @classmethod
    def _differ(cls, entries: tuple[ZeroShot, ...]) -> tuple[ZeroShot, ...]:
        seen: set[tuple[str, str]] = set()
        for entry in entries:
            if (entry.view, entry.column) in seen:
                raise ValueError(f"the column {entry.column!r} of view {entry.view} stands twice; give one entry all templates")
            seen.add((entry.view, entry.column))
        return entries


def evaluate(served: Any, splits: dict[str, ViewSplit], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Retrieval on the main view, zero-shot figures and probes as set, concept matching for linked views ``ood_...``."""
    asked: Settings = settings.evaluate
    embedded = {role: embed(served, split) for role, split in splits.items()}
    report = Report({})
    add_retrieval(report, served, embedded["main"], splits["main"], asked.recall_at)
    report.pictures["captions"] = sheet_of_captions(served, embedded["main"], splits["main"], asked.split, asked.captions)
    report = add_zero_shot(report, served, embedded, asked)
    for column in asked.linear_probe:
        add_probe(report, served, splits["main"], column, asked.split)
    add_concept_matching(report, served, embedded, asked)
    return report


def add_zero_shot(report: Report, served: Any, embedded: dict[str, Embedded], settings: Settings) -> Report:
    """Add the figures of every column, and of the images of the main view of which all columns are right."""
    right: list[np.ndarray] = []
    for number, entry in enumerate(settings.zero_shot):
        key = f"evaluate.zero_shot.{number}"
        if entry.view not in embedded:
            raise ValueError(f"{key}.view: {entry.view!r} is not allowed: {', '.join(embedded)}")
        images = embedded[entry.view]
        found = classify(served, images.vectors, Choice.of(images.facts, images.columns, entry, key), settings.calibration_bins)
        prefix = entry.column if entry.view == "main" else f"{entry.view}.{entry.column}"
        found.add_to(report, f"zero_shot.{prefix}")
        if entry.view == "main":
            right.append(found.right)
            if report.groups is None and len(found.rows) == len(images.vectors):
                report = replace(report, groups=found.labels, group_names=found.classes, probabilities=found.probabilities)
    if len(right) > 1:
        every = np.stack(right)
        if (scored := ~np.isnan(every).any(0)).any():
            report.metrics["zero_shot.all_columns.accuracy"] = Metric(float(every[:, scored].all(0).mean()), "max")
    return report


def add_probe(report: Report, served: Any, split: ViewSplit, column: str, name: str) -> None:
    """Add the accuracy of a linear probe for a column, and which C the validation split chose."""
    if column not in split.columns:
        known = ", ".join(split.columns) or "none"
        raise ValueError(f"evaluate.linear_probe: view {split.facts.name!r} has no column {column!r}; it has {known}")
    assert split.other is not None
    try:
        parts = [_features(served, split.other(part), column) for part in ("train", "validation", name)]
        probe = linear_probe(*parts)
    except ValueError as error:
        raise ValueError(f"evaluate.linear_probe: column {column!r}: {error}") from None
    report.metrics[f"linear_probe.{column}.accuracy"] = Metric(float(probe.right.mean()), "max")
    report.items[f"linear_probe.{column}.accuracy"] = probe.right.astype(np.float64)
    row = {"column": column, "C": probe.strength, "validation_accuracy": probe.validation}
    row |= {"accuracy": float(probe.right.mean()), "train_images": len(parts[0].rows), "images": len(probe.right)}
    report.tables.setdefault("linear_probe", []).append(row)


def _features(served: Any, split: ViewSplit, column: str) -> Features:
    rows = np.concatenate([served.image_features(pixels_of(batch)) for batch in split])
    return Features(rows.astype(np.float64), split.columns[column])


def add_concept_matching(report: Report, served: Any, embedded: dict[str, Embedded], settings: Settings) -> None:
    """Add how well the names of the export's classes tell images of the main view from those of views ``ood_...``."""
    outside = [role for role in embedded if role.startswith(OUTSIDE)]
    if not outside:
        return
    if len(served.classes) < 2:
        raise ValueError("export.column: concept matching needs at least 2 classes, whose names the export has")
    concepts = served.class_vectors(tuple(served.facts["classes"]), tuple(served.facts["templates"]))
    cosines = {role: embedded[role].vectors @ concepts.T for role in ("main", *outside)}
    scorers = {
        "mcm": lambda rows: maximum_concept_matching(rows, settings.mcm_temperature),
        "max_cosine": lambda rows: rows.max(1),
    }
    rows = []
    for detector, scorer in scorers.items():
        inside = scorer(cosines["main"])
        for role in outside:
            view, scores = role.removeprefix(OUTSIDE), scorer(cosines[role])
            area, missed = auroc(inside, scores), fpr95_in_positive(inside, scores)
            rows.append({"detector": detector, "view": view, "auroc": area, "fpr95_in_positive": missed, "images": len(scores)})
            report.metrics[f"{detector}.{view}.auroc"] = Metric(area, "max")
    report.tables["concept_matching"] = rows
