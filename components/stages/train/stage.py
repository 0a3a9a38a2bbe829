"""Stage ``train``: train a run on its view, and write the final weights and curves.

With ``train.processes: N`` it starts N processes of itself on this machine. With torchrun's environment (RANK, WORLD_SIZE, ...)
it is one of them, which allows training on several machines. See components.stages.train.processes.
"""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch

from components.core.artifact import follow_links
from components.core.batch import ViewFacts
from components.core.files import write_atomically, write_json
from components.core.recipe import Recipe
from components.core.runtime import (
    Precision,
    exclusive_device,
    pick_device,
    resolve_precision,
    set_threads,
)
from components.core.settings import RunSettings, Workspace
from components.stages.assemble import build_recipe, open_views
from components.stages.start import initialise
from components.stages.train.batch_norm import batch_norms
from components.stages.train.batch_size import resolve_batch_size
from components.stages.train.checkpoint import Checkpoints, fingerprint, serialise
from components.stages.train.curves import Curves
from components.stages.train.launch import launch
from components.stages.train.loop import Log, Stopped, train
from components.stages.train.processes import LAUNCHER, Place, place_in, process_group, require_same
from components.stages.train.validation import SPLIT, check_validation
from components.stages.views.view import View

Observer = Callable[..., AbstractContextManager[Log]]
WATCHING = ("workers", "checkpoint_every", "log_every", "init")


def run(workspace: Workspace, name: str, observe: Observer | None = None, inputs: str = "") -> None:
    """Train the run. ``observe``: context manager of a callback for every point of the curves.

    ``inputs``: a hash of the inputs of the training, which keys its checkpoints; if empty, no checkpoints are written.

    After SIGTERM it writes a checkpoint and raises SystemExit 143.
    """
    settings = workspace.run(name)
    place = place_in(os.environ, settings.train.processes, f"runs.{settings.name}.train")
    with exclusive_device(*devices_to_hold(place, settings.train.processes)):
        if place is None:
            sys.exit(launch(["-m", "components", "train", settings.name], settings.train.processes))
        device = pick_device(place.local_rank)
        with process_group(place, device):
            try:
                train_process(workspace, settings, place, device, observe=observe or unobserved, inputs=inputs)
            except Stopped as stop:
                print(
                    stop if inputs else f"stopped by SIGTERM at step {stop.step}; no checkpoint was asked for", file=sys.stderr
                )
                sys.exit(143)


def unobserved(workspace: Workspace, run: str, fingerprint: str, *, killed: tuple[type[BaseException], ...]) -> Any:
    """Return an observer without effect."""
    return nullcontext(lambda step, point: None)


def devices_to_hold(place: Place | None, processes: int) -> list[torch.device]:
    """Return the devices to lock: all of this machine's, by the launcher or else by the machine's first process."""
    if place is None:
        return [pick_device(rank) for rank in range(processes)]
    mine = place.local_rank == 0 and LAUNCHER not in os.environ
    return [pick_device(rank) for rank in range(place.local_world)] if mine else []


def train_process(
    workspace: Workspace, settings: RunSettings, place: Place, device: torch.device, *, observe: Observer, inputs: str
) -> None:
    """Train as one of the processes; rank 0 writes the results."""
    set_threads(settings.train.threads)
    links = follow_links(workspace, settings.name, "train")
    views = open_views(workspace, settings, links)
    split = workspace.params.runs[settings.name].evaluate.get("split", "test")
    check_split(settings.name, split, views["main"].facts)
    automatic = settings
    settings = resolve_batch_size(settings, views, links, device)
    recipe = build_recipe(settings, views, links)
    check_curve(settings, recipe, views["main"].facts)
    starts = initialise(recipe, links)
    precision = resolve_precision(settings.train.precision, device, recipe.prefers_fp32)
    require_same_inputs(settings, views, device, precision)
    checkpoints: Checkpoints | None = None
    observed: AbstractContextManager[Log] = nullcontext(lambda step, point: None)
    if place.rank == 0:
        conditions = {"device": device.type, "precision": precision, "processes": place.world}
        conditions |= {} if settings is automatic else {"batch_size": settings.train.batch_size}
        key = fingerprint(inputs, **conditions)
        checkpoints = Checkpoints(workspace.checkpoints(settings.name) / key) if inputs else None
        observed = observe(workspace, settings.name, key, killed=(Stopped,))
        among = f", {place.world} processes" if place.world > 1 else ""
        for line in (*getattr(recipe, "notes", ()), *(line for start in starts for line in start.lines())):
            print(line, file=sys.stderr)
        size = "" if settings is automatic else f", batches of {settings.train.batch_size}"
        print(f"{settings.name}: {settings.train.steps} steps on {device.type}, {precision}{among}{size}", file=sys.stderr)
    with observed as log:
        curves = train(recipe, views, settings.train, device=device, precision=precision, checkpoints=checkpoints, log=log)
    if place.rank == 0:
        resolved: dict[str, Any] = {"precision": precision, "device": device.type}
        resolved |= {"init": [start.to_json() for start in starts]} if starts else {}
        resolved |= (outcome := curves.outcome(settings.train.steps))
        print_outcome(settings, outcome)
        write_outs(workspace, settings, views["main"].facts, recipe=recipe, curves=curves, resolved=resolved)


def print_outcome(settings: RunSettings, outcome: dict[str, int]) -> None:
    """Say that the training stopped early, and which weights are saved."""
    name, train = settings.name, settings.train
    if "stopped_at" in outcome:
        reason = f"{train.patience} validations without a better figure"
        print(f"{name}: stopped at step {outcome['stopped_at']} of {train.steps}: {reason}", file=sys.stderr)
    if "selected_step" in outcome:
        print(f"{name}: the weights of step {outcome['selected_step']} are saved, the best of the validation", file=sys.stderr)


def require_same_inputs(settings: RunSettings, views: dict[str, View], device: torch.device, precision: Precision) -> None:
    """Raise ValueError if processes, perhaps in different clones, have different settings, data or versions."""
    data = {role: view.facts.digest for role, view in views.items()}
    deciding = (settings.recipe, settings.model, settings.train, data, device.type, precision, torch.__version__)
    require_same("settings, data, device and torch version", repr(deciding).encode())


def write_outs(
    workspace: Workspace, settings: RunSettings, view: ViewFacts, *, recipe: Recipe, curves: Curves, resolved: dict[str, Any]
) -> None:
    """Write weights.pt, settings.json and curves.csv to ``outputs/train/<run>``."""
    out = workspace.folder / "outputs" / "train" / settings.name
    out.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {
        "recipe": settings.recipe,
        "view": recorded(view),
        "model": {"name": settings.model.name, **settings.model.options},
        "train": settings.train.model_dump(exclude=unset(settings.train)) | resolved,
    }
    idle = {*WATCHING, *idle_settings(settings.train)}  # must not change the file of the weights
    deciding = {key: value for key, value in metadata["train"].items() if key not in idle}
    state = {name: tensor.cpu().contiguous() for name, tensor in recipe.state_dict().items()}
    write_atomically(out / "weights.pt", serialise({"settings": metadata | {"train": deciding}, "state": state}))
    write_json(out / "settings.json", metadata)
    write_atomically(out / "curves.csv", curves.to_csv())


def recorded(view: ViewFacts) -> dict[str, Any]:
    """Return the facts of a view for the record; those of a tokeniser only if it is not that of bytes, as for ``unset``."""
    tokens = ("vocabulary_size", "start_id", "end_id", "pad_id")
    defaults = {name: ViewFacts.__dataclass_fields__[name].default for name in tokens}
    return {name: value for name, value in asdict(view).items() if name not in defaults or value != defaults[name]}


def unset(train: Any) -> set[str]:
    """Return the settings of ``named_if_set`` at their defaults: runs that do not use a later feature keep their bytes."""
    defaults = type(train).model_fields
    return {key for key in getattr(type(train), "named_if_set", ()) if getattr(train, key) == defaults[key].default}


def idle_settings(train: Any) -> list[str]:
    """Return the settings of selection and batch norm that decide nothing in this run: weights.pt does not name them."""
    following = ["validate_every", "select", "select_metric", "patience"]
    idle = [key for key in following if not train.follows_validation or getattr(train, key) is None]
    return idle + (["batch_norm"] if train.batch_norm == "copied" else [])


def check_split(run: str, split: str, view: ViewFacts) -> None:
    """Raise ValueError before the training if the view lacks the split for the evaluation."""
    if split not in view.counts:
        choices = ", ".join(sorted(view.counts))
        raise ValueError(f"runs.{run}.evaluate.split: {split!r} is not in view {view.name!r}; it has: {choices}")


def check_curve(settings: RunSettings, recipe: Recipe, view: ViewFacts) -> None:
    """Raise ValueError before the training if the run asks for a validation curve that its recipe or view does not have."""
    key = f"runs.{settings.name}.train"
    check_validation(type(recipe), settings.train, key)
    if settings.train.batch_norm == "reestimated" and not batch_norms(recipe):
        raise ValueError(f"{key}.batch_norm: reestimated is not allowed: {settings.model.name} has no batch norm")
    if (settings.train.follows_validation or settings.train.validate_every) and not view.counts.get(SPLIT):
        choices = ", ".join(sorted(view.counts))
        raise ValueError(f"{key}: the validation curve needs a validation split; view {view.name!r} has: {choices}")
