"""The same small trainings for one process or for several: ``python together.py <folder>`` in torchrun's environment.

Each process writes what it found to ``<folder>/found.<rank>.pt``.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from toy.recipe import Toy
from toy.recipe import TrainSettings as ToyTrain
from workbench import run_settings, write_view

from components.core.settings import ModelSettings, RunSettings
from components.core.step import draw, gather, opposite, optimize, processes
from components.networks import MODELS
from components.stages.assemble import build_recipe
from components.stages.train import loop
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.processes import (
    ProcessLost,
    anyone,
    from_rank_0,
    place_in,
    process_group,
    require_same,
    translate_backend_errors,
)
from components.stages.train.settings import LoopSettings
from components.stages.views.view import open_view

STEPS, BATCH = 20, 16
TOY_CODER = "toy.model:Coder"  # its entry in MODELS, as "toy_coder"
CPU = torch.device("cpu")


class ToySettings(ToyTrain, LoopSettings):
    pass


def view_in(folder):
    images = np.random.default_rng(0).integers(0, 256, size=(40, 8, 8, 1), dtype=np.uint8)
    return open_view(write_view(folder, images=images, labels=np.arange(40) % 3, classes=("a", "b", "c")))


def toy(view, **train):
    """Two optimizers, two streams, noise and a moving average."""
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": STEPS, "batch_size": BATCH, "learning_rate": 1e-2}
    settings = RunSettings(
        name="toy",
        recipe="toy",
        view="view",
        model=ModelSettings("toy_coder", {"width": 4}),
        train=ToySettings(**block | {"ema_decay": 0.9, "log_every": 7} | train),
        export=None,
        evaluate=None,
    )
    torch.manual_seed(0)
    return settings, Toy.build(settings, {"main": view.facts, "other": view.facts}, {})


def vit(view, **train):
    """No batch statistics."""
    options = {"patch": 4, "width": 16, "depth": 1, "heads": 2}
    block = {"steps": STEPS, "batch_size": BATCH, "optimizer": "sgd", "learning_rate": 0.1, "clip_norm": 1.0, "log_every": 7}
    settings = run_settings("vit", options, **block | train)
    return settings, build_recipe(settings, {"main": view}, {})


def trained(made, view, checkpoints=None):
    settings, recipe = made
    curves = loop.train(
        recipe,
        {"main": view, "other": view},
        settings.train,
        device=CPU,
        precision="fp32",
        checkpoints=checkpoints,
        log=lambda step, point: None,
    )
    return {name: tensor.clone() for name, tensor in recipe.state_dict().items()}, curves.to_csv()


def in_float64(made, view):
    """The final weights, all of the training in float64."""
    settings, recipe = made

    def doubled(method):
        return lambda batches, *step: method(
            {role: batch | {"image": batch["image"].double()} for role, batch in batches.items()}, *step
        )

    recipe.training_step = doubled(recipe.training_step)
    if hasattr(recipe, "validate"):
        recipe.validate = doubled(recipe.validate)
    return trained((settings, recipe.double()), view)


def first_gradients(make, view):
    """The gradients that each optimizer is given at step 0, in fp32, one after the other."""
    seen = []

    def note(optimizer, *_):
        seen.extend(parameter.grad.flatten().clone() for group in optimizer.param_groups for parameter in group["params"])

    made = make(view, steps=1)
    for optimizer in made[1].optimizers.values():
        optimizer.register_step_pre_hook(note)
    trained(made, view)
    return torch.cat(seen)


def contrastive(whole_loss):
    """The gradient of an InfoNCE loss over 8 pairs and of a penalty on its slope; each process has its share of the pairs.

    ``whole_loss``: each process computes the loss of all pairs, else the mean over its own against all.
    """
    rank, world = processes()
    generator = torch.Generator().manual_seed(1)
    share = slice(rank * 8 // world, (rank + 1) * 8 // world)
    images, texts = torch.randn(2, 8, 5, generator=generator, dtype=torch.float64)[:, share]
    weight = torch.nn.Parameter(torch.randn(5, 3, generator=generator, dtype=torch.float64))
    images, texts = torch.tanh(images @ weight), torch.tanh(texts @ weight)
    queries, truth = (gather(images), torch.arange(8)) if whole_loss else (images, torch.arange(8)[share])
    loss = F.cross_entropy(queries @ gather(texts).T, truth)
    # The slope of the sum over the processes, of which the loss is the mean.
    slope = torch.autograd.grad(loss, texts, create_graph=True)[0] / world
    optimize({"loss": loss, "penalty": world * slope.square().sum()}, torch.optim.SGD([weight], lr=0.0))
    return weight.grad


def interrupted(view, folder):
    """Rank 1 alone gets SIGTERM in the middle of step 11; all stop after it, and go on from the checkpoint."""
    rank, _ = processes()
    checkpoints = Checkpoints(folder / "checkpoints") if rank == 0 else None
    update = loop.TrainingState.update

    def signalled(self, batches, step, precision):
        if step == 11 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        update(self, batches, step, precision)

    loop.TrainingState.update = signalled
    try:
        trained(toy(view), view, checkpoints)
        raise AssertionError("not stopped")
    except loop.Stopped as stop:
        step = str(stop)
    finally:
        loop.TrainingState.update = update
    return step, trained(toy(view), view, checkpoints)


def poisoned(view):
    """What each process says of a NaN that only the last one saw."""
    rank, world = processes()
    update = loop.TrainingState.update

    def poison(self, batches, step, precision):
        if step == 3 and rank == world - 1:
            batches["train"]["image"].fill_(float("nan"))
        update(self, batches, step, precision)

    loop.TrainingState.update = poison
    try:
        return message(lambda: trained(vit(view), view))
    finally:
        loop.TrainingState.update = update


def until_lost(place):
    with translate_backend_errors(place):
        while True:
            anyone(False)


def message(act):
    try:
        act()
    except (ValueError, ProcessLost) as error:
        return str(error)
    return None


def lonely():
    """An update in which only rank 0 has a gradient for one of the weights, and no process for another."""
    rank, _ = processes()
    shared, single, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    loss = (shared * (rank + 1)).sum() + (single.sum() * 6 if rank == 0 else 0)
    optimizer = torch.optim.SGD([shared, single, unused], lr=1.0, weight_decay=0.5, momentum=0.9)
    optimize(loss, optimizer)
    return shared.tolist(), single.tolist(), unused.tolist(), unused in optimizer.state


def for_any_number(folder):
    """What must not depend on the number of processes."""
    view = view_in(folder / f"view.{processes()[0]}")
    return {
        "float64": {make.__name__: in_float64(make(view), view) for make in (toy, vit)},
        "gradients": {make.__name__: first_gradients(make, view) for make in (toy, vit)},
        "contrastive": [contrastive(whole) for whole in (True, False)],
        "poisoned": poisoned(view),
    }


def for_two(folder):
    """What only processes among themselves can show."""
    rank, _ = processes()
    view = view_in(folder / f"view.{rank}")
    return {
        "lonely": lonely(),
        "noise": draw((3, 2), seed=4, step=9, use="noise"),
        "even": draw((3, 2), seed=4, step=9, use="time", kind="even"),
        "opposite": opposite(torch.arange(12.0).view(2, 6).T[3 * rank : 3 * rank + 3]),
        "interrupted": interrupted(view, folder),
        "undisturbed": trained(toy(view), view),
        "anyone": [anyone(rank == 1), anyone(False)],
        "from rank 0": from_rank_0({"step": 7, "weights": torch.arange(3)} if rank == 0 else None),
        "same": message(lambda: require_same("the weather", b"fine")),
        "different": message(lambda: require_same("the weather", bytes([rank]))),
    }


def main():
    folder = Path(sys.argv[1])
    MODELS["toy_coder"] = TOY_CODER
    torch.set_num_threads(1)
    place = place_in(os.environ, 2, "runs.test.train")
    with process_group(place, CPU):
        found = for_any_number(folder) | for_two(folder)
        if place.rank == 1:
            torch.save(found, folder / "found.1.pt")
            os._exit(0)
        found["lost"] = message(lambda: until_lost(place))
        torch.save(found, folder / "found.0.pt")
        os._exit(0)  # the other is gone: there is no good end


if __name__ == "__main__":
    main()
