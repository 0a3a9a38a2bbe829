"""Stage ``detect``: fit the detectors of a block on the training images of its run, save them, and score the run's own view."""

from __future__ import annotations

from typing import Any

from components.core.config.strict import resolve
from components.core.runtime import exclusive_device, pick_device
from components.core.settings import RunSettings, Workspace
from components.detectors.shared.protocol import Head
from components.families import RECIPES
from components.stages.detect.concepts import concept_network, save_concepts
from components.stages.detect.features import StoredSamples, stored_samples
from components.stages.detect.fitting import fit_all, save_fitted
from components.stages.detect.inside import score_inside
from components.stages.detect.network import exact_arithmetic, load_recipe, network_of, trained_weights
from components.stages.detect.outs import write_inside, write_network, write_served
from components.stages.detect.places import Outs, fresh_outs
from components.stages.detect.scoring import require_split, to_score
from components.stages.detect.settings import check_kind, make_detectors
from components.stages.views.view import open_view


def run(workspace: Workspace, name: str) -> None:
    """Fit, save and score on the available device. SettingsError for a run that has no classes."""
    detection = workspace.detection(name)
    settings = workspace.run(detection.run)
    kind = resolve(RECIPES, settings.recipe, f"runs.{settings.name}.recipe")
    check_kind(detection, settings.recipe, kind, f"detect.{name}")
    detectors = make_detectors(detection, f"detect.{name}")
    with fresh_outs(workspace, name) as outs:
        fit_and_score(workspace, name, settings, detectors, outs)


def fit_and_score(workspace: Workspace, name: str, settings: RunSettings, detectors: dict[str, Any], outs: Outs) -> None:
    """Fit the detectors, score the run's own view, and write the three folders."""
    detection, device = workspace.detection(name), pick_device()
    view = open_view(workspace.folder / "outputs" / "views" / detection.view)
    weights = trained_weights(workspace, detection.run)
    with exclusive_device(device), exact_arithmetic(settings.train.threads):
        recipe = load_recipe(workspace, settings, view, weights, device)
        if detection.concepts is None:
            network, column = network_of(recipe, settings, device), "label"
        else:
            network, column = concept_network(recipe, detection.concepts, view, f"detect.{name}"), detection.concepts.column
            save_concepts(outs.fitted, network)
        split = require_split(view.facts, "train", f"detect.{name}.view")
        with stored_samples(network, view, split, detection.batch_size, outs.fitted, column=column) as samples:
            fitted, unfitted = fit(name, detectors, samples, network.head, detection.serve)
        # Before `to_score`, which converts the state to float32.
        save_fitted(outs.fitted, fitted, detection.options, unfitted, detection.batch_size)
        write_network(workspace, outs.fitted, detection)
        scores = score_inside(network, name, detection, view, to_score(fitted, device))
    write_inside(outs.inside, detection, scores, unfitted)
    write_served(outs, detection, scores)


def fit(
    name: str, detectors: dict[str, Any], samples: StoredSamples, head: Head, serve: str | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Fit; return (fitted detectors, name -> reason for the others). ValueError if ``serve`` fails; ``name``: of the block."""
    fitted, unfitted = fit_all(detectors, samples, head)
    print(f"{name}: {len(fitted)} of {len(detectors)} detectors fitted on {len(samples)} images")
    for detector, reason in unfitted.items():
        print(f"{name}: not fitted: {reason}")
        if detector == serve:
            raise ValueError(f"detect.{name}.serve: {detector!r} cannot be fitted: {reason}")
    return fitted, unfitted
