"""Small MUNIT and UNIT runs for their tests: squares at places (content) in two domains, dark on light and light on dark."""

import numpy as np
import torch

from components.core.batch import ViewFacts, to_unit_range
from components.core.config.strict import NoSettings, parse
from components.core.settings import RunSettings, parse_model
from components.families.munit import recipe as munit
from components.families.unit import recipe as unit
from components.serving.loading import load_served
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.start import initialise
from components.stages.train.settings import LoopSettings
from components.translation.judges import Settings

SIZE, DOMAINS = 16, ("dark", "light")
FACTS = ViewFacts("v", SIZE, 1, {"label": ("square",), "domain": DOMAINS}, (0.0,), (1.0,), {"train": 40}, "")
MODELS = {
    "munit": {"width": 4, "downsamplings": 1, "blocks": 1, "mlp_width": 8, "style_width": 3, "style_downsamplings": 2},
    "unit": {"width": 4, "downsamplings": 1, "blocks": 1},
}


class MUNITTrain(munit.TrainSettings, LoopSettings):
    pass


class UNITTrain(unit.TrainSettings, LoopSettings):
    pass


KINDS = {"munit": (munit.MUNITRecipe, MUNITTrain), "unit": (unit.UNITRecipe, UNITTrain)}


def settings(kind, model=None, **train):
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 6, "batch_size": 4, "learning_rate": 1e-3}
    block |= {"discriminator": {"width": 4, "layers": 2, "scales": 2}}
    return RunSettings(
        name="test",
        recipe=kind,
        view="v",
        model=parse_model({"name": kind, **(model or MODELS[kind])}, "model"),
        train=parse(KINDS[kind][1], block | train, "train"),
        export=NoSettings(),
        evaluate=Settings(),
    )


def build(kind, facts=FACTS, links=None, **given):
    torch.manual_seed(given.get("seed", 0))
    recipe = KINDS[kind][0].build(settings(kind, **given), {"main": facts}, {})
    recipe.notes = [line for start in initialise(recipe, links or {}) for line in start.lines()]
    return recipe


def pixels(count, seed=0):
    """(uint8 [count, SIZE, SIZE, 1], domain int64 [count] in turns): a square somewhere, in a random shade in domain 1."""
    draws, domain = np.random.default_rng(seed), np.arange(count) % 2
    images = np.empty((count, SIZE, SIZE, 1), np.uint8)
    for image, light in zip(images, domain, strict=True):
        top, left, shade = [*draws.integers(1, SIZE - 7, 2).tolist(), int(draws.integers(60, 256))]
        image[:] = 255  # a frame: beside it a shade can be told through a norm over the image
        image[1:-1, 1:-1] = 0 if light else 220
        image[top : top + 6, left : left + 6] = shade if light else 10
    return images, domain


def batch(count=4, seed=0, dtype=torch.float32):
    images, domain = pixels(count, seed)
    return {"image": to_unit_range(torch.from_numpy(images)).to(dtype), "domain": torch.from_numpy(domain)}


def export(recipe, kind, folder):
    """What is served, its graphs checked against torch."""
    folder.mkdir(parents=True, exist_ok=True)
    exportable = recipe.eval().exportable()
    write_graphs(exportable, [batch(2), batch(1), batch(7)], folder, threads=1)
    write_rest(exportable, batch(2), folder)
    write_code(kind, folder)
    return load_served(folder)


def scattered(recipe, spread=0.2):
    """The recipe with numbers added to all weights, so that no path is idle."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in recipe.parameters():
            parameter.add_(spread * torch.randn(parameter.shape))
    return recipe


def watch(recipe):
    """After each optimizer's update, notes (its name, the other side's weights, their gradients)."""
    seen, sides = [], {name: getattr(recipe, name) for name in recipe.optimizers}
    for name, optimizer in recipe.optimizers.items():
        (theirs,) = (side for other, side in sides.items() if other != name)

        def note(*_, name=name, theirs=theirs):
            weights = torch.cat([parameter.detach().flatten() for parameter in theirs.parameters()])
            gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in theirs.parameters()]
            seen.append((name, weights, gradients))

        optimizer.register_step_post_hook(note)
    return seen
