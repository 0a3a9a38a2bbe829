"""Build the report of a run from its evaluation, its view, its training's curves and its export."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.core.files import read_arrays, read_json
from components.core.recipe import Heatmap, Metric, Report
from components.core.settings import Workspace
from components.metrics.intervals import mean_interval
from components.stages.evaluate.report.card import card_sections, limits_section, settings_section
from components.stages.evaluate.report.classes import class_sections
from components.stages.evaluate.report.confusion import confusion_blocks
from components.stages.evaluate.report.curves import curve_figures
from components.stages.evaluate.report.images import overlaid, uri, whole_uri
from components.stages.evaluate.report.page import Block, Card, Figure, Gallery, Page, Section, Table, cell
from components.stages.evaluate.report.pictures import Pictures
from components.stages.evaluate.report.quality import quality_section
from components.stages.views.view import View, open_view

HIGHLIGHTS = 4  # metrics at the top
ROWS = 200  # of a table
OWN = ("per_class", "confusion")  # of a classifier's main view, which has sections of its own


def report_page(workspace: Workspace, run: str, report: Report) -> Page:
    """Return the run's page. All of it follows from the inputs of stage ``evaluate``."""
    outputs, settings = workspace.folder / "outputs", workspace.run(run)
    view, evaluate = open_view(outputs / "views" / settings.view), settings.evaluate.model_dump()
    split = str(evaluate.get("split", "test"))
    trained, export = read_json(outputs / "train" / run / "settings.json"), read_json(outputs / "export" / run / "facts.json")
    card, pictures = read_json(outputs / "code" / "card" / f"{run}.json"), Pictures.of(workspace.folder, view, split)
    classifier = report.probabilities is not None and report.groups is not None
    intervals = {name: mean_interval(values) for name, values in report.items.items()}
    sections = [
        Section("Metrics", [metrics_table(report, intervals)]),
        *(class_sections(report, pictures) if classifier else []),
        Section("Saliency", saliency(workspace, run, view)),
        quality_section(workspace.folder, view),
        *further_sections(report, OWN if classifier else ()),
        Section("Curves", curve_figures(outputs / "train" / run / "curves.csv")),
        *card_sections(trained, card, view.facts, export),
        settings_section(trained, evaluate),
        limits_section(report, split, card, export),
    ]
    model = trained.get("model", {}).get("name", "")
    return Page(
        title=workspace.registered_name(run),
        subtitle=f"{settings.recipe} by {model}, measured on {pictures.count:,} {split} pictures of view {settings.view}",
        sections=sections,
        highlights=[highlight(name, metric, intervals.get(name)) for name, metric in list(report.metrics.items())[:HIGHLIGHTS]],
    )


def metrics_table(report: Report, intervals: dict[str, tuple[float, float]]) -> Table:
    """Return a row per metric: value, 95 % interval if it is a mean over images, direction."""
    rows = [
        {
            "metric": name,
            "value": metric.value,
            "95 % interval": "{} to {}".format(*map(cell, intervals[name])) if name in intervals else "–",
            "better": {"max": "larger", "min": "smaller"}[metric.better],
        }
        for name, metric in report.metrics.items()
    ]
    return Table(rows)


def highlight(name: str, metric: Metric, interval: tuple[float, float] | None) -> tuple[str, str, str]:
    """Return (name, value, small print) of a figure that stands out."""
    small = (
        "95 %: {} to {}".format(*map(cell, interval))
        if interval
        else f"{'larger' if metric.better == 'max' else 'smaller'} is better"
    )
    return name.replace("_", " "), cell(float(metric.value)), small


def further_sections(report: Report, left_out: tuple[str, ...]) -> list[Section]:
    """Return a section per table and picture that has no other, those of one linked view (``<role>.<name>``) together."""
    blocks: dict[str, list[Block]] = {}
    for name, picture in report.pictures.items():
        role, _, own = name.rpartition(".")
        if name in left_out:
            continue
        heading = f"View {role}" if role else own.replace("_", " ").capitalize()
        if isinstance(picture, Heatmap):
            blocks.setdefault(heading, []).extend(confusion_blocks(picture, own))
        else:
            blocks.setdefault(heading, []).append(Figure("", uri=whole_uri(picture)))
    for name, rows in report.tables.items():
        role, _, own = name.rpartition(".")
        if name not in left_out and rows:
            heading = f"View {role}" if role else own.replace("_", " ").capitalize()
            blocks.setdefault(heading, []).append(Table(rows[:ROWS], own.replace("_", " "), max(0, len(rows) - ROWS)))
    return [Section(heading, content) for heading, content in blocks.items()]


def saliency(workspace: Workspace, run: str, view: View) -> list[Gallery]:
    """Return the pictures whose maps the export holds, each beside its map."""
    path = workspace.folder / "outputs" / "export" / run / "saliency.npz"
    if not path.is_file():
        return []
    arrays = read_arrays(path)
    split, method, names = str(arrays["split"]), str(arrays["method"]), view.facts.classes["label"]
    pictures, labels = Pictures.of(workspace.folder, view, split), view.split(split).columns["label"]
    cards = [
        Card(
            [uri(pictures.pixels(row)), uri(heated(pictures.pixels(row), heat))],
            pictures.name(row),
            [f"is {names[labels[row]]}"],
        )
        for row, heat in zip(arrays["row"].tolist(), arrays["map"], strict=True)
    ]
    words = f"{method}, red: what counts most; from the {split} split the least sure pictures of a sample, then the surest"
    return [Gallery(cards, words)]


def heated(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return the picture under its map, uint8 [H', W', 3], small pictures enlarged so that the map is smooth."""
    zoom = max(1, 96 // max(pixels.shape[:2]))
    large: Any = pixels.repeat(zoom, 0).repeat(zoom, 1)
    return overlaid(large, heat)
