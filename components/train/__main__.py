"""``python -m components.train <run>``: from a view to final weights and curves."""

import json
import sys
from dataclasses import asdict
from typing import Any

from components.artifact import follow_links
from components.assemble import build_recipe, open_views
from components.batch import ViewFacts
from components.runtime import (
    argument,
    exclusive_device,
    pick_device,
    resolve_precision,
    run_command,
    set_threads,
    write_atomically,
)
from components.settings import RunSettings, Workspace
from components.tracking import live_curves
from components.train.checkpoint import Checkpoints, fingerprint, serialise
from components.train.loop import Stopped, train

WATCHING = ("workers", "checkpoint_every", "log_every")


def main() -> None:
    workspace = Workspace()
    settings = workspace.run(argument("python -m components.train <run>"))
    set_threads(settings.train.threads)
    device = pick_device()
    links = follow_links(workspace, settings.name, "train")
    views = open_views(workspace, settings, links)
    check_split(settings, views["main"].facts)
    recipe = build_recipe(settings, views, links)
    precision = resolve_precision(settings.train.precision, device, recipe.bf16_hurts)
    key = fingerprint(workspace, f"train@{settings.name}", device=device.type, precision=precision)
    checkpoints = Checkpoints(workspace.checkpoints(settings.name) / key)
    print(f"{settings.name}: {settings.train.steps} steps on {device.type}, {precision}", file=sys.stderr)
    with exclusive_device(device), live_curves(workspace, settings.name, key, killed=(Stopped,)) as log:
        curves = train(recipe, views, settings.train, device=device, precision=precision, checkpoints=checkpoints, log=log)
    out = workspace.folder / "outputs" / "train" / settings.name
    out.mkdir(parents=True, exist_ok=True)
    carried: dict[str, Any] = {
        "recipe": settings.recipe,
        "view": asdict(views["main"].facts),
        "model": {"name": settings.model.name, **settings.model.options},
        "train": settings.train.model_dump() | {"precision": precision, "device": device.type},
    }
    # How the work was cut up and watched decides no weight, and must not change the file that holds them.
    deciding = {key: value for key, value in carried["train"].items() if key not in WATCHING}
    state = {name: tensor.cpu().contiguous() for name, tensor in recipe.state_dict().items()}
    write_atomically(out / "weights.pt", serialise({"settings": carried | {"train": deciding}, "state": state}))
    write_atomically(out / "settings.json", (json.dumps(carried, indent=1, sort_keys=True) + "\n").encode())
    write_atomically(out / "curves.csv", curves.to_csv())


def check_split(settings: RunSettings, view: ViewFacts) -> None:
    """Before hours of training: the view has the split that the run is to be scored on."""
    wanted = getattr(settings.evaluate, "split", "test")
    if wanted not in view.counts:
        there = ", ".join(sorted(view.counts))
        raise ValueError(f"runs.{settings.name}.evaluate.split: {wanted!r} is not in view {view.name!r}; it has: {there}")


if __name__ == "__main__":
    try:
        run_command(main)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(143)
