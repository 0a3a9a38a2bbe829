"""The PixelCNN recipe: what a level is, what is learnt, and what is served."""

import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.core.artifact import Artifact
from components.core.batch import Split, ViewFacts, to_pixels, to_unit_range
from components.core.config.strict import NoSettings
from components.core.settings import RunSettings, parse_model
from components.families.pixelcnn.evaluation import Settings, evaluate
from components.families.pixelcnn.recipe import PixelCNNRecipe, TrainSettings, static_draw
from components.families.pixelcnn.sampling import sample, uniform_draws
from components.serving.loading import load_served
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise
from components.stages.train.settings import LoopSettings

SIZE = 6
FACTS = ViewFacts("v", SIZE, 1, {"label": ("a", "b", "c")}, (0.0,), (1.0,), {"train": 9}, "")
GATED = {"name": "gated_pixelcnn", "width": 8, "depth": 2, "levels": 4, "class_condition": True}
BINARY = {"name": "pixelcnn", "width": 8, "depth": 2, "levels": 2}


def settings(model, **train):
    class Train(TrainSettings, LoopSettings):
        pass

    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": 8, "learning_rate": 1e-2}
    return RunSettings(
        name="test",
        recipe="pixelcnn",
        view="v",
        model=parse_model(model, "model"),
        train=Train(**block | train),
        export=NoSettings(),
        evaluate=Settings(samples=5, completions=2),
    )


def build(model, links=None, facts=FACTS, **train):
    torch.manual_seed(0)
    recipe = PixelCNNRecipe.build(settings(model, **train), {"main": facts}, {})
    initialise(recipe, links or {})
    return recipe


def batch(count=9):
    pixels = torch.randint(0, 256, (count, SIZE, SIZE, 1), generator=torch.manual_seed(0), dtype=torch.uint8)
    return {"image": to_unit_range(pixels), "label": torch.arange(count) % 3}


def test_levels_are_the_nearest_ones():
    every = to_unit_range(torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1))
    for levels in (2, 4, 256):
        found = build(GATED | {"levels": levels}).density.levels(every).flatten()
        assert found.tolist() == [round(pixel * (levels - 1) / 255) for pixel in range(256)]


def test_a_static_draw_is_the_image_s_own_and_is_on_as_often_as_the_pixel_is_bright():
    density = build(BINARY, binarise="static").density
    grey = torch.full((2000, SIZE, SIZE, 1), 64, dtype=torch.uint8)
    grey[:, 0, 0, 0], grey[:, 0, 1, 0] = torch.arange(2000) % 256, torch.arange(2000) // 256  # no two are the same
    levels = density.levels(to_unit_range(grey))
    assert torch.equal(density.levels(to_unit_range(grey[7:9])), levels[7:9])
    assert levels[:, 0, 1:].double().mean().item() == pytest.approx(64 / 255, abs=0.01)
    assert (levels[:, 0, 1:].double().mean(0) - 64 / 255).abs().max() < 0.05
    ends = torch.tensor([0, 255], dtype=torch.uint8).repeat(18).view(1, SIZE, SIZE, 1)
    assert density.levels(to_unit_range(ends)).flatten().tolist() == [0, 1] * 18


def test_a_static_draw_is_that_of_earlier_results():
    """Computed with whole numbers of any size: a model is measured on the binarisation that it was trained on."""
    density = build(BINARY, binarise="static").density
    assert "keys" not in density.state_dict()
    keys = density.keys.tolist()
    pixels = torch.arange(SIZE * SIZE) * 7 % 256
    prime = 2**31 - 1
    digest = sum(pixel * key for pixel, key in zip(pixels.tolist(), keys, strict=True)) % prime
    expected = []
    for key in keys:
        mixed = (digest + key) % prime
        for odd in (1_597_334_677, 747_796_405, 277_803_737):
            mixed = mixed * ((mixed + odd) % prime) % prime
        expected.append(mixed / prime)
    drawn = static_draw(pixels.view(1, 1, SIZE, SIZE), torch.tensor(keys))
    assert drawn.flatten().tolist() == pytest.approx(expected, rel=1e-12)
    assert keys == torch.randint(1, prime, (SIZE * SIZE,), generator=torch.Generator().manual_seed(0)).tolist()


def test_a_dynamic_draw_is_a_new_one_at_every_step(monkeypatch):
    recipe, seen = build(BINARY, binarise="dynamic"), []
    logits = recipe.density.logits
    monkeypatch.setattr(recipe.density, "logits", lambda levels, label: seen.append(levels) or logits(levels, label))
    for step in (0, 1, 1):
        recipe.training_step({"train": batch()}, step)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[0], recipe.density.levels(batch()["image"]))


def test_dynamic_draws_follow_the_seed():
    grey = {"image": torch.zeros(4, 1, SIZE, SIZE)}
    found = [build(BINARY, binarise="dynamic", seed=seed).training_step({"train": grey}, 0) for seed in (0, 0, 1)]
    assert torch.equal(found[0]["nats_per_image"], found[1]["nats_per_image"])
    assert not torch.equal(found[0]["nats_per_image"], found[2]["nats_per_image"])


def test_the_gradient_of_the_nats_per_dimension_is_bounded_if_asked():
    norms = {}
    for bound in (None, 1e-3):
        recipe = build(GATED, clip_norm=bound)
        recipe.training_step({"train": batch()}, 0)
        norms[bound] = torch.nn.utils.get_total_norm([p.grad for p in recipe.parameters()]).item()
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[None] > 0.01


@pytest.mark.parametrize("model", [GATED, BINARY])
def test_a_few_steps_learn_two_images(model):
    recipe = build(model)
    two = {"image": batch()["image"][:2].repeat(4, 1, 1, 1), "label": torch.tensor([0, 1] * 4)}
    curve = [recipe.training_step({"train": two}, step) for step in range(120)]
    bits = [point["bits_per_dim"].item() for point in curve]
    assert bits[0] == pytest.approx(math.log2(model["levels"]), rel=0.3)
    assert bits[-1] < 0.3 * bits[0]
    assert curve[-1]["nats_per_image"].item() == pytest.approx(bits[-1] * SIZE**2 * math.log(2))


@pytest.mark.parametrize(("model", "binarise"), [(GATED, "none"), (BINARY, "dynamic")])
def test_validation_is_the_exact_likelihood_in_bits(model, binarise):
    """Of the static draw, also if the training draws anew at every step."""
    recipe = build(model, binarise=binarise).eval()
    with torch.no_grad():
        bits = recipe.validate({"train": batch()})["bits_per_dim"]
        _, _, exact = recipe.density(*batch().values())
    torch.testing.assert_close(bits, -exact / SIZE**2 / np.log(2))


def test_it_starts_from_another_run_of_its_own_and_refuses_another_network(tmp_path):
    first = build(BINARY)
    (tmp_path / "weights.pt").write_bytes(serialise({"settings": {}, "state": first.state_dict()}))
    link = {"init": Artifact(tmp_path / "weights.pt", "")}
    torch.testing.assert_close(build(BINARY, link, seed=1).state_dict(), first.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"link init \(.*weights.pt\): the published weights do not fit GatedPixelCNN"):
        build(GATED, link)


def test_adam_has_its_standard_constants():
    """pytorch-generative: torch's Adam."""
    group = build(BINARY).optimizers["network"].param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0)


def test_settings_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match=r"train\.binarise: static is of two levels, and model\.levels is 4"):
        PixelCNNRecipe.check(settings(GATED, binarise="static"), None, {})
    with pytest.raises(ValueError, match=r"model\.name: 'resnet18' is no PixelCNN"):
        PixelCNNRecipe.check(settings({"name": "resnet18"}), None, {})


@pytest.fixture(scope="module")
def recipe():
    return build(GATED).eval()


@pytest.fixture(scope="module")
def served(recipe, runtime, tmp_path_factory):
    folder, exportable = tmp_path_factory.mktemp("export"), recipe.exportable()
    write_graphs(exportable, [batch(2), batch(1), batch(7)], folder, threads=1)
    write_rest(exportable, batch(2), folder)
    write_code("pixelcnn", folder)
    return load_served(folder)


def inputs(count=9):
    one = batch(count)
    return {"image": to_pixels(one["image"]), "label": one["label"].numpy()}


def test_the_served_likelihood_is_the_exact_one(served, recipe):
    found, one = served.predict(inputs()), batch()
    with torch.no_grad():
        levels = recipe.density.levels(one["image"])
        logits = recipe.density.network(levels / 3, one["label"])
    wanted = -F.cross_entropy(logits, levels, reduction="none").sum((1, 2, 3))
    np.testing.assert_allclose(found["log_likelihood"], wanted, atol=1e-3)
    np.testing.assert_array_equal(found["image"], to_pixels(levels / 1.5 - 1))


def test_served_samples_are_those_of_our_own_code_by_the_definition(served, recipe):
    found = served.predict(inputs(3), {"task": "sample", "seed": 4})
    network = build(GATED).eval().density.network.double()
    draws = uniform_draws((3, 1, SIZE, SIZE), seed=4)
    wanted = sample(network, draws, label=torch.arange(3), cached=False)
    np.testing.assert_array_equal(found["image"], to_pixels(wanted / 1.5 - 1))
    np.testing.assert_array_equal(found["log_likelihood"], served.score(found["image"], np.arange(3))["log_likelihood"])
    assert not np.array_equal(found["image"], served.predict(inputs(3), {"task": "sample", "seed": 5})["image"])
    np.testing.assert_array_equal(served.sample(1, label=np.zeros(1, int), seed=4), found["image"][:1])
    assert served.sample(2, label=np.array([0, 1]), size=(3, 8)).shape == (2, 3, 8, 1)


def test_sampling_leaves_nothing_in_the_export(served, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = sorted(served.folder.rglob("*"))
    type(served)(served.folder).sample(1, label=np.zeros(1, int))
    assert sorted(served.folder.rglob("*")) == before


def test_a_completion_keeps_what_is_known(served):
    given = served.predict(inputs())["image"]
    found = served.predict({**inputs(), "image": given}, {"task": "complete", "rows": 4, "temperature": 0.5})["image"]
    np.testing.assert_array_equal(found[:, :4], given[:, :4])
    assert not np.array_equal(found[:, 4:], given[:, 4:])
    known = np.random.default_rng(0).random((9, SIZE, SIZE)) < 0.5
    painted = served.complete(given, known, label=inputs()["label"])
    np.testing.assert_array_equal(painted[known], given[known])


@pytest.mark.parametrize(
    ("change", "params", "told"),
    [
        ({}, {"task": "paint"}, "task 'paint' is not known; allowed: score, complete, sample"),
        ({}, {"colour": 1}, "colour is not known; allowed: task, rows, temperature, seed"),
        ({}, {"rows": 7}, "rows 7 is not allowed: from 0 to 6"),
        ({}, {"seed": -1}, "seed -1 is not allowed"),
        ({}, {"task": "sample", "temperature": 0.0}, "temperature: 0.0 is not allowed"),
        ({"label": np.array([3, 0])}, {}, "label: 2 whole numbers from 0 to 2 are expected"),
        ({"label": np.array([0])}, {}, "label: 2 whole numbers"),
        ({"image": np.zeros((2, 5, 6, 1), np.uint8)}, {}, r"the shape must be \[N, 6, 6, 1\], found \[2, 5, 6, 1\]"),
        ({"image": np.full((2, 6, 6, 1), 0.5)}, {}, "whole numbers from 0 to 255"),
        ({"extra": 1}, {}, "the input must be a mapping with image and label, found image, label, extra"),
    ],
)
def test_what_cannot_be_served_is_refused(served, change, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs(2) | change, params)


def test_the_defaults_of_the_signature_are_those_of_a_call_without_params(served, recipe):
    """MLflow's server sends the signature's."""
    assert {entry["name"]: entry["default"] for entry in recipe.exportable().signature["params"]} == served.options({})


def test_an_empty_batch_gives_empty_answers(served):
    for task in ("score", "complete", "sample"):
        found = served.predict(inputs(0), {"task": task})
        assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
            "log_likelihood": ((0,), np.float32),
            "image": ((0, SIZE, SIZE, 1), np.uint8),
        }


def test_the_report_is_of_exact_likelihoods_image_by_image(served):
    split = Split(FACTS, [batch(5), batch(4)])
    report = evaluate(served, {"main": split}, settings(GATED), {})
    nats = -np.concatenate([served.predict(inputs(n))["log_likelihood"] for n in (5, 4)])
    assert report.metrics["nats_per_image"].value == pytest.approx(nats.mean(), rel=1e-6)
    assert report.metrics["bits_per_dim"].value == pytest.approx(nats.mean() / SIZE**2 / math.log(2), rel=1e-6)
    assert {metric.better for metric in report.metrics.values()} == {"min"}
    np.testing.assert_allclose(report.items["nats_per_image"], nats, rtol=1e-6)
    assert report.groups.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 0]
    assert [row["images"] for row in report.tables["per_class"]] == [4, 3, 2]
    assert report.pictures["samples"].shape == (2 * 7 * 8, 3 * 7 * 8, 3)
    assert report.pictures["completions"].shape == (2 * 7 * 8, 8 * 7 * 8, 3)
