"""The page of a comparison: metrics, test, the pictures that flip, classes, speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from components.core import settings
from components.core.files import write_text
from components.core.settings import Workspace
from components.registry.reports.comparison import Comparison, class_rows, metric_rows, test_rows
from components.registry.reports.published import SPEED
from components.stages.evaluate.report.images import uri
from components.stages.evaluate.report.page import FILE, Card, Facts, Gallery, Page, Section, Table, Text
from components.stages.evaluate.report.pictures import Pictures
from components.stages.evaluate.report.render import render
from components.stages.views.view import open_view

FLIPS = 48  # pictures of a gallery


def write_comparison(workspace: Workspace, comparison: Comparison) -> Path:
    """Write the page to ``.work/reports/compare-<first>-<second>`` and return its path."""
    titles = [side.title.replace(":", "-") for side in (comparison.first, comparison.second)]
    path = settings.WORK / "reports" / f"compare-{titles[0]}-{titles[1]}" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(comparison_page(workspace, comparison)))
    return path


def comparison_page(workspace: Workspace, comparison: Comparison) -> Page:
    """Return the page; ``first`` and ``second`` stand for the versions throughout."""
    first, second = comparison.first, comparison.second
    rows = metric_rows(comparison)
    sections = [
        Section("Versions", [Facts([("first", first.title), ("second", second.title)])]),
        Section("Metrics", [Table(rows, "differences are second - first, with their paired 95 % interval")]),
        *(flip_sections(workspace, comparison) if comparison.classifies else []),
        Section("Speed", speed(comparison)),
        Section("Limits", [Text(["Both versions are scored by their own shipped code on today's pictures and metric code."])]),
    ]
    highlights = [(row["metric"].replace("_", " "), f"{row['difference']:+.4f}", row["reads"]) for row in rows[:4]]
    place = f"the {first.split} split of view {first.view}"
    return Page(f"{first.title} and {second.title}", f"two versions on {place}", sections, highlights)


def flip_sections(workspace: Workspace, comparison: Comparison) -> list[Section]:
    """Return the test, the galleries of fixed and broken pictures, and the classes that change."""
    first = comparison.first
    view = open_view(workspace.folder / "outputs" / "views" / first.view)
    pictures = Pictures.of(workspace.folder, view, first.split)
    fixed, broken = comparison.flips()
    return [
        Section("Do they differ?", [Facts(test_rows(comparison))]),
        Section("Fixed", gallery(comparison, pictures, fixed, "only the second version is right")),
        Section("Broken", gallery(comparison, pictures, broken, "only the first version is right")),
        Section(
            "Classes that change", [Table(rows, "pictures that each gets right")] if (rows := class_rows(comparison)) else []
        ),
    ]


def gallery(comparison: Comparison, pictures: Pictures, rows: np.ndarray, words: str) -> list[Gallery]:
    """Return the pictures with what both versions say, the surest errors first."""
    errors = [
        side.scores.probability[rows] for side in (comparison.first, comparison.second) if side.scores.probability is not None
    ]
    order = np.argsort(-np.max(errors, axis=0), kind="stable") if errors else np.arange(len(rows))
    cards = [_card(comparison, pictures, row) for row in rows[order][:FLIPS].tolist()]
    more = f"; {len(rows) - FLIPS:,} more are not shown" if len(rows) > FLIPS else ""
    return [Gallery(cards, f"{words}: {len(rows):,} of {pictures.count:,} pictures{more}")] if cards else []


def _card(comparison: Comparison, pictures: Pictures, row: int) -> Card:
    bars = []
    for which, side in (("first", comparison.first), ("second", comparison.second)):
        scores: Any = side.scores
        says = int(scores.predicted[row])
        bars.append((f"{which}: {scores.group_names[says]}", float(scores.probability[row]), says == int(scores.groups[row])))
    names, groups = comparison.first.scores.group_names, np.asarray(comparison.first.scores.groups)
    return Card([uri(pictures.pixels(row))], pictures.name(row), [f"is {names[int(groups[row])]}"], bars)


def speed(comparison: Comparison) -> list[Table]:
    """Return the speed of both on this machine."""
    first, second = comparison.first.scores.latency, comparison.second.scores.latency
    rows = [
        {"": words, "first": first[name], "second": second[name]}
        for name, words in SPEED.items()
        if {name} <= {*first} & {*second}
    ]
    return [Table(rows, "measured on this machine when each was scored")] if rows else []
