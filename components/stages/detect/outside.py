"""Stage ``ood``: score an out-of-distribution view, an entry of ``ood``."""

import numpy as np

from components.core.batch import ViewFacts
from components.core.config.strict import named
from components.core.files import fresh_folder, write_arrays, write_json
from components.core.runtime import exclusive_device, pick_device
from components.core.settings import Workspace
from components.stages.detect.concepts import FILE as CONCEPTS
from components.stages.detect.concepts import saved_network
from components.stages.detect.fitting import load_fitted
from components.stages.detect.network import exact_arithmetic, fitted_weights, load_recipe, network_of
from components.stages.detect.scoring import chosen_splits, score_view, to_score
from components.stages.views.view import View, open_view


def run(workspace: Workspace, name: str) -> None:
    """Score the view's images by the fitted detectors of the block ``detect.<detect>``."""
    entry, ood = name, named(workspace.params.ood, name, "ood")
    view = open_view(workspace.folder / "outputs" / "views" / ood.view)
    splits = chosen_splits(view.facts, ood.split, f"ood.{entry}.split")
    scores = score(workspace, ood.detect, view, splits, f"ood.{entry}.view")
    images = sum(view.facts.counts[split] for split in splits)
    with fresh_folder(workspace.folder / "outputs" / "ood" / ood.detect / ood.view) as folder:
        write_arrays(folder / "scores.npz", scores)
        write_json(folder / "facts.json", {"view": ood.view, "kind": ood.kind, "split": ood.split, "images": images})
    print(f"{ood.detect}: {images} images of {ood.view} ({ood.kind}) scored by {len(scores)} detectors")


def score(workspace: Workspace, name: str, view: View, splits: tuple[str, ...], key: str) -> dict[str, np.ndarray]:
    """Return detector -> float64 [n], by the fitted detectors of ``detect@<name>``."""
    settings, weights = workspace.run(workspace.detection(name).run), fitted_weights(workspace, name)
    fitted = workspace.folder / "outputs" / "detect" / name / "fitted"
    own, device = open_view(fitted), pick_device()  # the facts of the run's own view; its images may lie on another machine
    check_fits(view.facts, own.facts, key)
    detectors, batch_size = load_fitted(fitted)
    with exclusive_device(device), exact_arithmetic(settings.train.threads):
        recipe = load_recipe(workspace, settings, own, weights, device)
        by_name = (fitted / CONCEPTS).is_file()
        network = saved_network(recipe, fitted, device) if by_name else network_of(recipe, settings, device)
        return score_view(network, to_score(detectors, device), view, splits, batch_size)


def check_fits(view: ViewFacts, own: ViewFacts, key: str) -> None:
    """Raise ValueError if the network cannot process the view's images."""
    expected, actual = ((facts.image_size, facts.channels) for facts in (own, view))
    if actual != expected:
        raise ValueError(
            f"{key}: view {view.name!r} has image_size {actual[0]} and channels {actual[1]}; the network was trained on view "
            f"{own.name!r} with image_size {expected[0]} and channels {expected[1]}: make a view of these"
        )
