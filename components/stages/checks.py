"""Checks of params.yaml before any work: that the blocks are consistent with each other, the views and the networks.

The flow's preflight, the stages (``checked.py``) and ``python -m components check`` make the same checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from components.core import catalogue
from components.core.config.references import check_links
from components.core.config.strict import SettingsError, collected, refuse, resolve
from components.core.settings import RunSettings, Workspace
from components.stages.assemble import is_start, refuse_rectangle
from components.stages.buildable import build_without_memory, without_memory
from components.stages.code.stage import LINKED
from components.stages.contents import check_contents
from components.stages.distilled import check_distillation
from components.stages.export.quantisable import check_quantisable

CLASSIFIERS = ("classification", "noisy_classifier")  # recipes whose served code returns logits and features
JUDGES = ("domains", "content", "modes")  # roles of classifiers in the evaluation of image translation
MAX_INITIAL_SHARE = 0.05  # share of the initial weights that a moving average may still hold at the end


def run_faults(workspace: Workspace, runs: Iterable[str]) -> list[str]:
    """Return the faults of all that the runs need, one line each. This imports the recipes, and so torch."""
    runs = list(runs)
    return [*workspace.params.faults_of(runs), *block_faults(workspace, workspace.params.needed(runs))]


def block_faults(workspace: Workspace, blocks: Iterable[str]) -> list[str]:
    """Return the faults of the blocks ("runs.digits") by the classes that read them; those without structure are left out."""
    checks: dict[str, Callable[[Workspace, str], object]] = {
        "datasets": Workspace.dataset,
        "views": check_view,
        "runs": check_run,
        "detect": check_detection,
        "ood": check_ood,
    }
    sound = [block.split(".", 1) for block in blocks if block not in workspace.params.faults]
    return collected(*(partial(checks[kind], workspace, name) for kind, name in sound if kind in checks))


def check_view(workspace: Workspace, name: str) -> None:
    """Parse the view's block and build its augmentation policy, as the augment stage does."""
    from components.stages.augment.policy.validation import validate_policy

    validate_policy(name, workspace.view(name))


def check_run(workspace: Workspace, name: str) -> None:
    """Parse the run's blocks, check its links and its view, and build its network for the view's size on the meta device.

    SettingsError lists the faults of all of these.
    """
    from components.families import RECIPES

    run = workspace.run(name)
    recipe = resolve(RECIPES, run.recipe, f"runs.{name}.recipe")
    starts = "init" in workspace.links(name, "train")
    refuse(
        collected(
            run.parsed,
            partial(workspace.gates, name),
            partial(check_links, workspace.params, workspace.folder, name, recipe.Roles),
            partial(check_average, run) if not starts else lambda: None,
            partial(check_judges, workspace, run),
            partial(check_distillation, workspace, run),
            partial(check_curve, run, recipe),
            partial(check_contents, workspace, name),
            partial(check_recipe, workspace, run, recipe),
            partial(check_int8, workspace, run),
        )
    )


def check_detection(workspace: Workspace, name: str) -> None:
    """Check that the run has classes, that its detectors can be built, and that the served one is among them."""
    from components.families import RECIPES
    from components.stages.detect.settings import check_kind, check_servable, make_detectors

    detection, key = workspace.detection(name), f"detect.{name}"
    recipe = workspace.params.runs[detection.run].recipe
    check_kind(detection, recipe, resolve(RECIPES, recipe, f"runs.{detection.run}.recipe"), key)
    make_detectors(detection, key)
    if detection.serve is not None:
        check_servable(detection.serve, f"{key}.serve")
        if detection.serve not in detection.names():
            raise SettingsError(f"{key}.serve: {detection.serve!r} is not among {key}.detectors")


def check_ood(workspace: Workspace, name: str) -> None:
    """Check that the network of the entry's detectors accepts images of its view."""
    entry = workspace.params.ood[name]
    own = workspace.params.detect[entry.detect]["view"]
    check_fits(f"ood.{name}.view", workspace.view(entry.view), workspace.view(own))


def check_fits(key: str, view: Any, own: Any) -> None:
    """Raise SettingsError if the images of ``view`` differ in size or channels from those of ``own``."""
    actual, expected = (" x ".join(map(str, (*v.shown, v.channels))) for v in (view, own))
    if actual != expected:
        raise SettingsError(f"{key}: its images are {actual}, the run's view has {expected}; give the view the same shape")


def check_average(run: RunSettings) -> None:
    """Check that the exported moving average has at most a small share of the initial weights."""
    from components.stages.train.average import share_of_start

    decay, steps, ramp_up = run.train.ema_decay, run.train.steps, run.train.ema_ramp_up
    left = 0.0 if decay is None else share_of_start(steps, decay, ramp_up=ramp_up)
    if left > MAX_INITIAL_SHARE:
        fault = f"runs.{run.name}.train.ema_decay: {decay} is not allowed: after {steps} steps {left:.0%}"
        most = int(MAX_INITIAL_SHARE ** (1 / steps) * 1e4) / 1e4
        raise SettingsError(f"{fault} of the average would be the weights as they were drawn; at most {most}")


def check_curve(run: RunSettings, recipe: Any) -> None:
    """Check that the recipe has the validation figures that the run's selection follows."""
    from components.stages.train.validation import check_validation

    try:
        check_validation(recipe, run.train, f"runs.{run.name}.train")
    except ValueError as error:
        raise SettingsError(str(error)) from None


def check_batch_norm(run: RunSettings, network: Any) -> None:
    """Check that a network whose batch norm is to be re-estimated has batch norm."""
    from torch.nn.modules.batchnorm import _BatchNorm

    has_any = any(isinstance(layer, _BatchNorm) for layer in network.modules())
    if run.train.batch_norm == "reestimated" and not has_any:
        fault = f"runs.{run.name}.train.batch_norm: reestimated is not allowed"
        raise SettingsError(f"{fault}: {run.model.name} has no batch norm")


def check_start(workspace: Workspace, run: RunSettings, network: Any) -> None:
    """Check that a network that brings its own weights has no link that brings others."""
    for name, link in workspace.params.links.items():
        if getattr(network, "pretrained", False) and (link.run, link.stage) == (run.name, "train") and is_start(link.role):
            fault = f"runs.{run.name}.model.pretrained: true is not allowed"
            raise SettingsError(f"{fault}: links.{name} brings other weights; keep one of them")


def check_judges(workspace: Workspace, run: RunSettings) -> None:
    """Check that each judge is an exported classifier for images of the run's shape; the evaluation checks its classes."""
    linked = workspace.linked_runs(run.name, "evaluate")
    for name, link in workspace.params.links.items():
        judge = linked.get(link.role) if (link.run, link.stage) == (run.name, "evaluate") else None
        if judge is None or link.role not in JUDGES:
            continue
        if judge.recipe not in CLASSIFIERS or not link.artifact.startswith("outputs/export/"):
            allowed = f"the export of a run of {' or '.join(CLASSIFIERS)}"
            raise SettingsError(f"links.{name}.from: {link.artifact!r} is not allowed: a judge is {allowed}")
        check_fits(f"links.{name}.from", workspace.view(judge.view), workspace.view(run.view))


def check_rectangles(workspace: Workspace, run: RunSettings, recipe: Any) -> None:
    """Check that the run's views are square, unless the recipe (and its network, if it names one) accepts rectangles."""
    from components.networks import MODELS

    takes = (
        [recipe]
        if hasattr(recipe, "build_network")
        else [recipe, resolve(MODELS, run.model.name, f"runs.{run.name}.model.name")]
    )
    links = [link.artifact for link in workspace.params.links.values() if link.run == run.name]
    linked = [artifact.removeprefix("outputs/views/") for artifact in links if artifact.startswith("outputs/views/")]
    for name in (run.view, *linked):
        for taker in takes:
            refuse_rectangle(taker, workspace.view(name).image_size, f"views.{name}.image_size")


def check_int8(workspace: Workspace, run: RunSettings) -> None:
    """Check that an export that is to be quantised can be."""
    # The splits of the view: check_contents, and the stage, which sees them.
    check_quantisable(run.export, workspace.links(run.name, "export"), ("validation",), f"runs.{run.name}.export")


def check_recipe(workspace: Workspace, run: RunSettings, recipe: Any) -> None:
    """Run the checks of the recipe and its evaluation, and build the network with its options."""
    check_rectangles(workspace, run, recipe)  # networks for squares cannot be built for others
    view, key = workspace.view(run.view), f"runs.{run.name}"
    linked = {stage: workspace.linked_runs(run.name, stage) for stage in LINKED}
    for part in (recipe, catalogue.evaluation(run.recipe, f"{key}.recipe")):
        try:
            if hasattr(part, "check"):
                part.check(run, view, linked)
        except SettingsError:
            raise
        except ValueError as error:
            raise SettingsError(f"{key}.{error}") from None
    if hasattr(recipe, "build_network"):
        network = without_memory(lambda: recipe.build_network(run, view.image_size, view.channels, 2), f"{key}.model")
    else:
        network = build_without_memory(run.model, view, f"{key}.model")
    check_batch_norm(run, network)
    check_start(workspace, run, network)
