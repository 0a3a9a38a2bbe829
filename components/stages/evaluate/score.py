"""Evaluate any export of a run, the latest or that of a registered version, by the current evaluation code."""

from __future__ import annotations

import os
from pathlib import Path

from components.core import catalogue
from components.core.artifact import follow_links
from components.core.recipe import Report
from components.core.settings import Workspace
from components.core.view_split import ViewSplit
from components.serving.loading import load_served
from components.stages.evaluate.seeds import add_seeds
from components.stages.views.view import View, open_view

BATCH = 256


def score(workspace: Workspace, run: str, export: Path) -> Report:
    """Evaluate the export's served code on the run's main view and on every linked view, by its evaluation settings.

    With other seeds of the run (links ``seed_...``) the report has their mean and standard deviation too.
    """
    settings = workspace.run(run)
    links = follow_links(workspace, run, "evaluate")
    folders = {"main": workspace.folder / "outputs" / "views" / settings.view}
    folders |= {role: link.path for role, link in links.items() if link.is_view()}
    split = getattr(settings.evaluate, "split", "test")
    views = {role: open_view(folder) for role, folder in folders.items()}
    splits = {role: open_split(view, split) for role, view in views.items()}
    # The raw block: parsing it would import the training code.
    os.environ.setdefault("DARKROOM_SERVED_THREADS", str(workspace.params.runs[run].train.get("threads", 1)))
    family = catalogue.evaluation(settings.recipe, f"runs.{run}.recipe")
    further = family.further_splits(settings.evaluate) if hasattr(family, "further_splits") else {}
    splits |= {role: open_split(views["main"], name) for role, name in further.items()}
    report: Report = family.evaluate(load_served(export), splits, settings, links)
    add_seeds(report, links, workspace.params.runs[run].train.get("seed", 0))
    return report


def open_split(view: View, name: str) -> ViewSplit:
    """Open a split of a view: pixels in batches, columns, captions. ValueError names the splits that the view has."""
    columns = view.split(name).columns
    texts = view.texts(name) if view.facts.context_length else ()
    batches = view.batches(name, BATCH, pixels=True)
    return ViewSplit(view.facts, batches, columns, texts, lambda other: open_split(view, other))
