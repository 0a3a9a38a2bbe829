"""Evaluate a served LIMoE as a CLIP, and show which experts see which patches and words."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.contrastive.evaluation import Settings as PairSettings
from components.contrastive.evaluation import evaluate as evaluate_pairs
from components.core.artifact import Artifact
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.core.view_split import ViewSplit
from components.families.limoe.experts import Observed, in_use, observe, table
from components.families.limoe.pictures import expert_sheet, routing_maps


class Settings(PairSettings):
    """Settings of a CLIP's evaluation, and of the pictures of the experts."""

    routed_images: int = Field(default=500, ge=1, description="first images of the split, with a caption each")
    tiles: int = Field(default=12, ge=1, le=40, description="patches shown of each expert")
    maps: int = Field(default=6, ge=1, le=24, description="images whose patches and words are coloured by expert")


def evaluate(served: Any, splits: dict[str, ViewSplit], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """The figures of pictures and texts; for a sparse model also its routing on the main view."""
    asked: Settings = settings.evaluate
    report = evaluate_pairs(served, splits, settings, links)
    if served.facts["mixtures"]:
        assert splits["main"].other is not None
        add_experts(report, served, observe(served, splits["main"].other(asked.split), asked.routed_images), asked)
    return report


def add_experts(report: Report, served: Any, observed: Observed, settings: Settings) -> None:
    """Add experts in use by modality (the least of the mixtures), the table of the experts, and two pictures."""
    number, grid = served.facts["experts"], tuple(served.facts["grid"])
    for modality, experts in (("image", observed.patches), ("text", observed.words)):
        report.metrics[f"experts_in_use.{modality}"] = Metric(float(in_use(experts, number).min()), "max")
    rows = table(observed, number)
    report.tables["experts"] = rows
    report.pictures["experts"] = expert_sheet(observed, rows, grid, settings.tiles)
    report.pictures["expert_maps"] = routing_maps(observed, number, grid, settings.maps)
