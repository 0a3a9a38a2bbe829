"""The detectors of one run: fitted on its training images, saved, and asked about its own view."""

from __future__ import annotations

from typing import Any

from components.core.runtime import exclusive_device, pick_device
from components.core.settings import RunSettings, Workspace
from components.core.strict import resolve
from components.families import RECIPES
from components.stages.augment.views import View, open_view
from components.stages.detect.features import kept_samples
from components.stages.detect.fitting import fit_all
from components.stages.detect.inside import score_inside
from components.stages.detect.network import Network, exact_arithmetic, load_network
from components.stages.detect.nothing import has_other_views
from components.stages.detect.outs import served_detector, write_fitted, write_inside, write_served
from components.stages.detect.places import Outs, fresh_outs
from components.stages.detect.scoring import to_score
from components.stages.detect.settings import make_detectors
from components.stages.detect.splits import demand


def detect(workspace: Workspace, run: str) -> None:
    """Fit the detectors that are asked for and save them; score the run's own view, on the device that the machine has."""
    settings = workspace.run(run)
    detectors = wanted_detectors(workspace, settings)
    with fresh_outs(workspace, run) as outs:
        fit_and_score(workspace, settings, detectors, outs)


def wanted_detectors(workspace: Workspace, settings: RunSettings) -> dict[str, Any]:
    """All of the run's; of a run without other views the served one alone. ValueError where the recipe is no classifier."""
    if not resolve(RECIPES, settings.recipe, f"runs.{settings.name}.recipe").detects:
        raise ValueError(f"runs.{settings.name}: detection needs a classifier, and a {settings.recipe} run is none")
    detectors = make_detectors(settings.detect, f"runs.{settings.name}.detect")
    if has_other_views(workspace, settings.name):
        return detectors
    return {name: detector for name, detector in detectors.items() if name == served_detector(settings)}


def fit_and_score(workspace: Workspace, settings: RunSettings, detectors: dict[str, Any], outs: Outs) -> None:
    """Into the three folders."""
    view, device = open_view(workspace.folder / "outputs" / "views" / settings.view), pick_device()
    with exclusive_device(device), exact_arithmetic(settings.train.threads):
        network = load_network(workspace, settings, view, device)
        fitted, unfitted = fit(network, settings, view, detectors, outs)
        write_fitted(outs.fitted, settings, view, fitted, unfitted)  # in float64, which `to_score` leaves
        found = score_inside(network, settings, view, to_score(fitted, device))
    write_inside(outs.inside, settings, found, unfitted)
    write_served(outs, settings, found)


def fit(
    network: Network, settings: RunSettings, view: View, detectors: dict[str, Any], outs: Outs
) -> tuple[dict[str, Any], dict[str, str]]:
    """(fitted detectors, name -> why one is not). ValueError where the one that is to be served is not."""
    split = demand(view.facts, "train", f"runs.{settings.name}.view")
    with kept_samples(network, view, split, settings.detect.batch_size, outs.fitted) as samples:
        fitted, unfitted = fit_all(detectors, samples, network.head)
        print(f"{settings.name}: {len(fitted)} of {len(detectors)} detectors fitted on {len(samples)} images")
    for name, reason in unfitted.items():
        print(f"{settings.name}: not fitted: {reason}")
        if name == served_detector(settings):
            raise ValueError(f"runs.{settings.name}.export.detector: {name!r} cannot be fitted: {reason}")
    return fitted, unfitted
