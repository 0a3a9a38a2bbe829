"""``python -m components.detect <run>``: fit the detectors on the run's training images, and score the run's own view."""

from typing import Any

from components.augment.views import View, open_view
from components.detect.features import kept_samples
from components.detect.fitting import fit_all
from components.detect.inside import NOTHING, score_inside
from components.detect.network import Network, exact_arithmetic, load_network
from components.detect.outs import Outs, fresh_outs, served_detector, write_fitted, write_inside, write_served
from components.detect.scoring import to_score
from components.detect.settings import make_detectors
from components.detect.splits import demand
from components.recipes import RECIPES
from components.runtime import argument, exclusive_device, pick_device, run_command
from components.settings import RunSettings, Workspace
from components.strict import resolve


def main() -> None:
    workspace = Workspace()
    settings = workspace.run(argument("python -m components.detect <run>"))
    detectors = wanted_detectors(workspace, settings)
    with fresh_outs(workspace, settings.name) as outs:
        detect(workspace, settings, detectors, outs)


def wanted_detectors(workspace: Workspace, settings: RunSettings) -> dict[str, Any]:
    """All of the run's; of a run without other views the served one alone, if any; none where the recipe is no classifier.

    Whether there are other views is asked of a file that DVC has as a dependency, and not of params.yaml: the first view
    makes the run's detectors be fitted, and a second one does not fit them again.
    """
    if not resolve(RECIPES, settings.recipe, f"runs.{settings.name}.recipe").detects:
        return {}
    detectors = make_detectors(settings.detect, f"runs.{settings.name}.detect")
    wired = workspace.folder / "outputs" / "ood" / settings.name / "run"
    if wired.read_text(encoding="utf-8").strip() != settings.name:  # components.link.wire adds to it where there are views
        return detectors
    return {name: detector for name, detector in detectors.items() if name == served_detector(settings)}


def detect(workspace: Workspace, settings: RunSettings, detectors: dict[str, Any], outs: Outs) -> None:
    """Fit and save, then score and save, on the device that the machine has."""
    view, device = open_view(workspace.folder / "outputs" / "views" / settings.view), pick_device()
    if not detectors:
        write_fitted(outs.fitted, settings, view, {}, {})
        write_inside(outs.inside, settings, NOTHING, {})
        write_served(outs, settings, NOTHING)
        print(f"{settings.name}: no detector is asked for")
        return
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


if __name__ == "__main__":
    run_command(main)
