"""A recipe that reads every key is trained from a view that has them all: nothing is promised that is not there."""

import torch
from toy.everything import Everything, TrainSettings

from components.core.batch import KEYS, ViewFacts
from components.core.settings import ModelSettings, RunSettings
from components.families import RECIPES
from components.stages.assemble import build_recipe
from components.stages.train import loop
from components.stages.train.settings import LoopSettings


class Train(LoopSettings, TrainSettings):
    pass


def settings(**train):
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 30, "batch_size": 8, "learning_rate": 0.01, "log_every": 10}
    nothing = Everything.Export()
    return RunSettings(
        name="all",
        recipe="everything",
        view="view",
        model=ModelSettings("none", {}),
        train=Train(**block | train),
        export=nothing,
        evaluate=nothing,
    )


def trained(view, **train):
    recipe = build_recipe(settings(**train), {"main": view}, {})
    curves = loop.train(
        recipe,
        {"main": view},
        settings(**train).train,
        device=torch.device("cpu"),
        precision="fp32",
        checkpoints=None,
        log=lambda step, point: None,
    )
    return recipe, curves


def test_a_few_steps_from_a_view_that_has_them_all(annotated, make, monkeypatch):
    monkeypatch.setitem(RECIPES, "everything", "toy.everything:Everything")
    view = make(
        annotated(),
        image_size=[20, 32],
        stored_size=[24, 36],
        fit="pad",
        split={"by": "group", "test": 0.25},
        text={"context_length": 12},
        augment=[{"HorizontalFlip": {}}, {"RandomCrop": {"height": 20, "width": 32}}],
    )
    assert {*view.split("train").keys} == set(KEYS)
    recipe, curves = trained(view)
    again, _ = trained(view, workers=1)
    weights, same = recipe.state_dict(), again.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights), "whatever prepares the batches"
    first, *_, last = curves.points
    assert set(first) > {"label", "labels", "domain", "boxes", "box_label", "box_mask", "font"}
    assert last["boxes"] < first["boxes"]
    with torch.no_grad():
        (batch,) = view.batches("test", 100)
        assert recipe.eval().network(batch)["boxes"].shape == (len(batch["image"]), 4 * view.facts.max_boxes)


def test_facts_without_annotations_are_those_of_old():
    facts = ViewFacts("v", 8, 1, {}, (0.0,), (1.0,), {}, "")
    assert (facts.height, facts.width, facts.max_boxes, facts.context_length, facts.masked) == (8, 8, 0, 0, False)
