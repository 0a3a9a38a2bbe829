"""Checks of params.yaml before any work: that the blocks are consistent with each other, the views and the networks.

Used by the flow's preflight and ``python -m components check``, by no stage.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from components.core import catalogue
from components.core.references import check_links
from components.core.settings import ModelSettings, RunSettings, Workspace
from components.core.strict import SettingsError, Strict, resolve
from components.stages.assemble import refuse_rectangle
from components.stages.code.stage import LINKED

CLASSIFIERS = ("classification", "noisy_classifier")  # recipes whose served code returns logits and features
JUDGES = ("domains", "content", "modes")  # roles of classifiers in the evaluation of image translation
MIN_CHANNELS = 8  # channels of a 1 x 1 convolution with a stride
MAX_INITIAL_SHARE = 0.05  # share of the initial weights that a moving average may still hold at the end


def check_view(workspace: Workspace, name: str) -> None:
    """Parse the view's block and build its augmentation policy, as the augment stage does."""
    from components.stages.augment.policy.validation import validate_policy

    validate_policy(name, workspace.view(name))


def check_run(workspace: Workspace, name: str) -> None:
    """Parse the run's blocks, check its links, and build its network for the view's size on the meta device."""
    from components.families import RECIPES

    run = workspace.run(name).parsed()
    recipe = resolve(RECIPES, run.recipe, f"runs.{name}.recipe")
    check_links(workspace.params, workspace.folder, name, recipe.Roles)
    workspace.gates(name)
    if "init" not in workspace.links(name, "train"):
        check_average(run)
    check_judges(workspace, run)
    check_rectangles(workspace, run, recipe)
    check_curve(run, recipe)
    check_recipe(workspace, run, recipe)


def check_detection(workspace: Workspace, name: str) -> None:
    """Check that the run is a classifier, that its detectors can be built, and that the served one is among them."""
    from components.families import RECIPES
    from components.stages.detect.settings import check_servable, make_detectors

    detection, key = workspace.detection(name), f"detect.{name}"
    recipe = workspace.params.runs[detection.run].recipe
    if not resolve(RECIPES, recipe, f"runs.{detection.run}.recipe").detects:
        raise SettingsError(f"{key}.run: detection needs a classifier, and a {recipe} run is none")
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


def check_recipe(workspace: Workspace, run: RunSettings, recipe: Any) -> None:
    """Run the checks of the recipe and its evaluation, and build the network with its options."""
    view, key = workspace.view(run.view), f"runs.{run.name}"
    linked = {stage: workspace.linked_runs(run.name, stage) for stage in LINKED}
    for part in (recipe, catalogue.evaluation(run.recipe, f"{key}.recipe")):
        try:
            if hasattr(part, "check"):
                part.check(run, view, linked)
        except ValueError as error:
            raise SettingsError(f"{key}.{error}") from None
    if hasattr(recipe, "build_network"):
        without_memory(lambda: recipe.build_network(run, view.image_size, view.channels, 2), f"{key}.model")
    else:
        build_without_memory(run.model, view, f"{key}.model")


def build_without_memory(model: ModelSettings, view: Any, key: str) -> None:
    """Build the network with two classes; SettingsError if its options are inconsistent."""
    from components.networks import MODELS

    network = resolve(MODELS, model.name, key)
    facts = {"image_size": view.image_size, "channels": view.channels, "num_classes": 2}
    known = {name: facts[name] for name in facts if name in inspect.signature(network).parameters}
    without_memory(lambda: network(**known, **model.options), key)


def without_memory(build: Callable[[], Any], key: str) -> None:
    """Call ``build`` on torch's meta device; SettingsError below ``key`` for its ValueError and for unsafe convolutions."""
    import torch

    try:
        with torch.device("meta"):
            network = build()
    except ValueError as error:
        raise SettingsError(f"{key}.{error}") from None
    check_convolutions(network, key)


def check_convolutions(network: Any, key: str) -> None:
    """Raise SettingsError for a convolution whose gradient corrupts memory: 1 x 1 with a stride, of fewer than 8 channels.

    On CPUs without AVX-512, in channels_last, torch 2.13.0 writes beyond the end of the weights' gradient (detected by glibc's
    heap checks; 8 or more channels, no stride, other memory formats and CPUs with AVX-512 are not affected).
    """
    from torch import nn

    for name, layer in network.named_modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and max(layer.stride) > 1
            and layer.in_channels < MIN_CHANNELS
        ):
            fault = (
                f"{name} is a 1 x 1 convolution of {layer.in_channels} channels with a stride, which torch cannot train safely"
            )
            raise SettingsError(
                f"{key}: {fault} on every CPU; at least {MIN_CHANNELS} channels are needed: make the network wider"
            )


def describe(workspace: Workspace) -> str:
    """Format every parsed block of the workspace as YAML-like text: the settings that the stages will read."""
    params = workspace.params
    lines = [f"datasets.{name}: {_flat(workspace.dataset(name))}" for name in params.datasets]
    for name in params.views:
        check_view(workspace, name)
        lines.append(f"views.{name}: {_flat(workspace.view(name))}")
    for name in params.runs:
        check_run(workspace, name)
        run = workspace.run(name)
        lines.append(f"runs.{name}: recipe={run.recipe} view={run.view}")
        lines.append(f"  model: name={run.model.name} " + " ".join(f"{k}={v}" for k, v in run.model.options.items()))
        blocks = {
            "train": run.train,
            "export": run.export,
            "evaluate": run.evaluate,
            "promote": workspace.gates(name),
        }
        lines += [f"  {block}: {_flat(settings)}" for block, settings in blocks.items()]
    for name in params.detect:
        check_detection(workspace, name)
        lines.append(f"detect.{name}: {_flat(workspace.detection(name))}")
    for name, entry in params.ood.items():
        check_ood(workspace, name)
        lines.append(f"ood.{name}: {_flat(entry)}")
    return "\n".join(lines)


def _flat(settings: Strict) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.model_dump().items())
