"""Today's evaluation of a run, on any export of it: the one just made, or what a registered version shipped."""

from __future__ import annotations

import os
from pathlib import Path

from components.core.artifact import follow_links
from components.core.batch import Split
from components.core.recipe import Report
from components.core.settings import Workspace
from components.families import evaluation
from components.serving.loading import load_served
from components.stages.augment.views import open_view

BATCH = 256


def score(workspace: Workspace, run: str, export: Path) -> Report:
    """The export folder's own served code on the run's main view and on every linked view, by the run's evaluation settings."""
    settings = workspace.run(run)
    links = follow_links(workspace, run, "evaluate")
    folders = {"main": workspace.folder / "outputs" / "views" / settings.view}
    folders |= {role: link.path for role, link in links.items() if link.is_view()}
    split = getattr(settings.evaluate, "split", "test")
    views = {role: open_view(folder) for role, folder in folders.items()}
    splits = {role: Split(view.facts, view.batches(split, BATCH)) for role, view in views.items()}
    os.environ.setdefault("DARKROOM_SERVED_THREADS", str(settings.train.threads))
    report: Report = evaluation(settings.recipe).evaluate(load_served(export), splits, settings, links)
    return report
