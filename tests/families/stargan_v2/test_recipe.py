"""The StarGAN v2 recipe: four updates in order, against the plain sequence; references; what is exported and served."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from bench.stargan_v2 import Plain

from components.adversarial.domains import of_domain
from components.core import step as updates
from components.core.artifact import Artifact
from components.core.batch import ViewFacts, to_pixels, to_unit_range
from components.core.config.strict import NoSettings, SettingsError, parse
from components.core.settings import RunSettings, parse_model
from components.families.stargan_v2 import recipe as stargan_v2
from components.families.stargan_v2.recipe import StarGANv2Recipe
from components.families.stargan_v2.settings import TrainSettings, check_run
from components.serving.loading import load_served
from components.serving.pixels import from_unit_range
from components.serving.translating import random_styles
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise
from components.stages.train.settings import LoopSettings
from components.stages.views.order import Balanced
from components.translation.judges import Settings

SIZE, FONTS = 8, ("bold", "plain", "serif")
FACTS = ViewFacts("v", SIZE, 1, {"label": ("a", "b"), "domain": FONTS}, (0.0,), (1.0,), {"train": 9}, "")
MODEL = {
    "name": "stargan_v2",
    "width": 4,
    "max_width": 8,
    "bottleneck": 4,
    "latent_dim": 3,
    "style_dim": 5,
    "mapping_width": 6,
}
PARTS = ["generator", "mapping_network", "style_encoder", "discriminator"]


class Train(TrainSettings, LoopSettings):
    pass


def settings(model=MODEL, **train):
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": 6, "schedule": "constant"}
    return RunSettings(
        name="test",
        recipe="stargan_v2",
        view="v",
        model=parse_model(model, "model"),
        train=parse(Train, block | train, "train"),
        export=NoSettings(),
        evaluate=parse(Settings, {}, "evaluate"),
    )


def build(facts=FACTS, links=None, model=MODEL, **train):
    torch.manual_seed(0)
    recipe = StarGANv2Recipe.build(settings(model, **train), {"main": facts}, {})
    recipe.notes = [line for start in initialise(recipe, links or {}) for line in start.lines()]
    return recipe


def balanced(count, seed, size=SIZE):
    """Random images; every three in turn have each domain once."""
    source = torch.Generator().manual_seed(seed)
    domain = torch.cat([torch.randperm(3, generator=source) for _ in range(count // 3)])
    pixels = torch.randint(0, 256, (count, size, size, 1), generator=source, dtype=torch.uint8)
    return {"image": to_unit_range(pixels), "domain": domain}


def batches(step, size=SIZE):
    return {"train": balanced(6, 2 * step, size), "reference": balanced(12, 2 * step + 1, size)}


# ------------------------------------------------------------------------------------------------ training


def test_two_steps_end_at_the_weights_of_the_plain_sequence_in_float64(monkeypatch):
    """Nothing that is shared changes the mathematics, and every loss is the paper's."""
    recipe = build(diversity=2.0, diversity_steps=4).double()
    plain = Plain(copy.deepcopy(nets(recipe)))
    drawn = lambda shape, **key: updates.draw(shape, **key).double()  # noqa: E731
    monkeypatch.setattr(stargan_v2, "draw", drawn)
    for step in range(2):
        given = {
            role: {name: t.double() if name == "image" else t for name, t in batch.items()}
            for role, batch in batches(step).items()
        }
        recipe.training_step(given, step)
        image, domain = given["reference"]["image"], given["reference"]["domain"]
        pairs = [  # of the first six, then of the others; by domain
            [6 * group + index for index in range(6) if domain[6 * group + index] == k] for group in range(2) for k in range(3)
        ]
        first, second = torch.tensor(pairs).T
        latents = [drawn((6, 3), seed=0, step=step, use=use) for use in ("latent", "other_latent")]
        images = given["train"]["image"], given["train"]["domain"]
        plain.iteration(images, domain[first], (image[first], image[second]), latents, spread=2.0 * (1 - step / 4))
    for name, part in plain.parts.items():
        torch.testing.assert_close(getattr(recipe, name).state_dict(), part.state_dict(), rtol=0, atol=1e-8)


def nets(recipe):
    """The four networks, side by side."""
    return torch.nn.ModuleDict({name: getattr(recipe, name) for name in PARTS})


def test_each_update_changes_its_own_networks_and_gradients_alone(monkeypatch):
    recipe, changed = build(), []

    def state(what):
        return {name: [copy.deepcopy(what(p)) for p in getattr(recipe, name).parameters()] for name in PARTS}

    def same(a, b):
        return all(x is y if x is None or y is None else torch.equal(x, y) for x, y in zip(a, b, strict=True))

    def watched(losses, *optimizers):
        weights, gradients = state(lambda p: p.data), state(lambda p: p.grad)
        total = updates.optimize(losses, *optimizers)
        new_weights, new_gradients = state(lambda p: p.data), state(lambda p: p.grad)
        moved = {name for name in PARTS if not same(weights[name], new_weights[name])}
        assert moved == {name for name in PARTS if not same(gradients[name], new_gradients[name])}
        changed.append(moved)
        return total

    monkeypatch.setattr(stargan_v2, "optimize", watched)
    for step in range(2):
        recipe.training_step(batches(step), step)
    sides = [{"discriminator"}, {"discriminator"}, {"generator", "mapping_network", "style_encoder"}, {"generator"}]
    assert changed == 2 * sides
    assert all(parameter.requires_grad for parameter in recipe.parameters())


def test_in_bf16_each_update_sees_the_weights_of_the_one_before(monkeypatch):
    """Autocast keeps its bf16 copies of the weights for as long as the loop's context stands, whatever an optimizer does."""
    recipe, seen, names = build(learning_rate=0.1), {}, iter(("first", "second", "latent", "reference"))
    done = stargan_v2.optimize

    def spy(losses, *optimizers):
        name = next(names)
        if name == "second":
            image, domain = batch["train"]["image"], batch["train"]["domain"]
            again = of_domain(recipe.discriminator(image), domain)  # the copies that the recipe's own losses were made of
            torch.clear_autocast_cache()
            seen["fresh"] = of_domain(recipe.discriminator(image), domain)
            seen["used"] = again
        return done(losses, *optimizers)

    monkeypatch.setattr(stargan_v2, "optimize", spy)
    batch = batches(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recipe.training_step(batch, 0)
    torch.testing.assert_close(seen["used"], seen["fresh"], rtol=0, atol=0)


@pytest.mark.parametrize("high_pass", [0.0, 1.0])
def test_every_trainable_weight_belongs_to_one_optimizer(high_pass):
    recipe = build(replace(FACTS, image_size=32), model=MODEL | {"high_pass": high_pass})
    owned = [id(p) for o in recipe.optimizers.values() for group in o.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in recipe.parameters() if p.requires_grad)
    assert recipe.optimizers["mapping_network"].defaults["lr"] == 1e-6
    assert set(recipe.averaged) == set(PARTS) - {"discriminator"}


@pytest.mark.parametrize("seed", range(5))
def test_pairs_of_references_share_their_domain_for_any_seed(seed):
    column = np.random.default_rng(seed).integers(0, 3, 50)
    place = np.arange(24 * seed, 24 * seed + 24)
    domain = torch.from_numpy(column[Balanced(column, seed, "reference")(place)])
    index = torch.arange(24)
    first, second, target = build(batch_size=12).references({"image": index, "domain": domain})
    assert torch.equal(domain[first], domain[second])
    assert torch.equal(domain[first], target)
    assert sorted([*first.tolist(), *second.tolist()]) == index.tolist()
    assert torch.bincount(target).tolist() == [4, 4, 4]


def test_images_and_pairs_of_references_hold_each_domain_equally_often():
    streams = build().streams()
    batch = streams["train"].batch_size
    found = {role: (s.view, s.sampler, s.by, s.batch_size) for role, s in streams.items()}
    assert found == {"train": ("main", "balanced", "domain", batch), "reference": ("main", "balanced", "domain", 2 * batch)}


def test_the_diversity_s_weight_falls_in_a_line_to_0_as_a_function_of_the_step():
    terms = {name: torch.tensor(1.0) for name in ("adversarial", "style", "diversity", "cycle")}
    recipe = build(diversity=2.0, diversity_steps=8, style=3.0, cycle=4.0)
    found = [recipe.weighted(terms, step) for step in (0, 2, 8, 9)]
    assert [-w["diversity"].item() for w in found] == [2.0, 1.5, 0.0, 0.0]
    assert [(w["adversarial"].item(), w["style"].item(), w["cycle"].item()) for w in found] == [(1.0, 3.0, 4.0)] * 4
    assert build().weighted(terms, 5)["diversity"].item() == -0.5  # over all 10 steps


def test_the_mapping_network_has_its_own_rate_and_all_have_the_run_s_decay():
    recipe = build(learning_rate=0.3, mapping_learning_rate=0.2, weight_decay=0.1, betas=[0.4, 0.5])
    groups = {name: optimizer.param_groups[0] for name, optimizer in recipe.optimizers.items()}
    assert {name: group["lr"] for name, group in groups.items()} == dict.fromkeys(PARTS, 0.3) | {"mapping_network": 0.2}
    assert {(group["weight_decay"], *group["betas"]) for group in groups.values()} == {(0.1, 0.4, 0.5)}


def test_styles_follow_the_seed_the_step_and_their_use():
    recipe, domain = build(), torch.tensor([0, 1, 2])
    first = recipe.random_style(domain, 0, "latent")
    assert torch.equal(first, recipe.random_style(domain, 0, "latent"))
    for other in (
        recipe.random_style(domain, 1, "latent"),
        recipe.random_style(domain, 0, "other_latent"),
        build(seed=1).random_style(domain, 0, "latent"),
    ):
        assert not torch.equal(first, other)


def test_lazy_r1_comes_every_third_update_of_the_discriminator_and_counts_three_times():
    every, lazy = build(), build(r1_every=3)
    penalties = [recipe.training_step(batches(0), 0)["discriminator_latent_r1"] for recipe in (every, lazy)]
    assert penalties[1].item() == pytest.approx(3 * penalties[0].item(), rel=1e-5)
    logged = [lazy.training_step(batches(step), step) for step in range(1, 6)]
    due = [kind for scalars in logged for kind in ("latent", "reference") if f"discriminator_{kind}_r1" in scalars]
    assert due == ["reference", "latent", "reference"]  # number 3 of step 1, 6 of step 3, 9 of step 4
    assert "discriminator_latent_r1" not in build(r1=0).training_step(batches(0), 0)


def test_it_starts_from_a_run_of_its_own_and_from_a_published_file_of_other_domains(tmp_path):
    first = build(seed=3)
    first.training_step(batches(0), 0)
    (tmp_path / "weights.pt").write_bytes(serialise({"settings": {}, "state": first.state_dict()}))
    second = build(links={"init": Artifact(tmp_path / "weights.pt", "")})
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)
    # Its settings do not name the domains: they are kept, and it says so.
    assert len(second.notes) == 3
    assert all(note.endswith("3 domains, kept; the file does not name them") for note in second.notes)
    published = {name: dict(getattr(first, name).state_dict()) for name in PARTS[:3]}
    (tmp_path / "published.ckpt").write_bytes(serialise(published))
    two = replace(FACTS, classes={"domain": FONTS[:2]})
    third = build(two, {"init": Artifact(tmp_path / "published.ckpt", "")})
    torch.testing.assert_close(third.generator.state_dict(), first.generator.state_dict(), rtol=0, atol=0)
    said = "\n".join(third.notes)
    assert "init: discriminator: not in the file" in said
    assert "the file has 3 domains, this view 2" in said
    with pytest.raises(ValueError, match=r"link init \(.*published.ckpt\): "):
        build(model=MODEL | {"width": 2}, links={"init": Artifact(tmp_path / "published.ckpt", "")})


REFUSED_RUNS = [
    ({"batch_size": 8}, {}, FACTS, "train.batch_size: 8 is not allowed: a multiple of the 3 domains"),
    ({"batch_size": 6, "processes": 4}, {}, FACTS, "for each of 4 processes"),
    ({}, {}, replace(FACTS, classes={"label": ("a", "b")}), "no domains to translate between"),
    ({}, {}, replace(FACTS, classes={"domain": ("bold",)}), "one domain, bold"),
    ({}, {"bottleneck": 16}, FACTS, "image_size: 8 is not allowed: at least the bottleneck"),
    ({}, {}, replace(FACTS, image_size=9), "image_size: 9 is not allowed"),
]


@pytest.mark.parametrize(("train", "model", "facts", "told"), REFUSED_RUNS)
def test_what_cannot_be_trained_is_refused_before_training(train, model, facts, told):
    with pytest.raises(ValueError, match=told):
        build(facts, model=MODEL | model, **train)


def test_settings_that_do_not_fit_are_refused():
    for train, told in (
        ({"betas": [0.0, 1.0]}, r"betas: \[0.0, 1.0\] is not allowed"),
        ({"r1_every": 0}, "r1_every"),
        ({"lambda": 1}, "lambda"),
    ):
        with pytest.raises(SettingsError, match=told):
            settings(**train)
    with pytest.raises(ValueError, match=r"model.name: 'munit' is not the network of this recipe; allowed: stargan_v2"):
        check_run(settings({"name": "munit"}), None, {})
    with pytest.raises(ValueError, match=r"train.compile: true is not allowed: R1 needs second derivatives"):
        check_run(settings(compile=True), None, {})


# ------------------------------------------------------------------------------------------------ what is served


def export(recipe, folder, model=MODEL, size=SIZE):
    folder.mkdir(parents=True, exist_ok=True)
    exportable = recipe.eval().exportable()
    given = balanced(9, 0, size)
    write_graphs(exportable, [{name: t[:n] for name, t in given.items()} for n in (2, 1, 7)], folder, threads=1)
    write_rest(exportable, {name: t[:2] for name, t in given.items()}, folder)
    write_code("stargan_v2", folder)
    return load_served(folder)


@pytest.fixture(scope="module")
def recipe():
    """Biases are not 0, so that styles and latent codes count."""
    found = build()
    for parameter in found.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return found.eval()


@pytest.fixture(scope="module")
def served(recipe, runtime, tmp_path_factory):
    return export(recipe, tmp_path_factory.mktemp("export"))


@torch.no_grad()
def test_served_translations_are_torch_s(served, recipe):
    given = balanced(9, 7)
    image, source = to_pixels(given["image"]), given["domain"]
    target = (source + 1) % 3
    latents = torch.from_numpy(random_styles(9, 3, 4, 0))
    style = of_domain(recipe.mapping_network(latents), target)
    own, theirs = recipe.style_of(given["image"], source), recipe.style_of(given["image"].flip(0), target)
    reference = image[::-1].copy()

    def near(found, made):
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - from_unit_range(made.numpy())).max() <= 1

    inputs = {"image": image, "domain": target.numpy(), "reference": reference}
    near(served.predict(inputs, {"seed": 4})["image"], recipe.generator(given["image"], style))
    guided = served.predict(inputs, {"style_from": "reference"})["image"]
    near(guided, recipe.generator(given["image"], theirs))
    given_style = own[0].tolist()
    fixed = served.predict(inputs, {"style_from": "style", "style": given_style})["image"]
    near(fixed, recipe.generator(given["image"], own[:1].expand(9, -1)))
    np.testing.assert_allclose(served.styles_of(reference, target.numpy()), theirs.numpy(), atol=1e-4)
    np.testing.assert_array_equal(guided, served.translate(image, target.numpy(), reference=reference))
    seed_0 = of_domain(recipe.mapping_network(torch.from_numpy(random_styles(9, 3, 0, 0))), target)
    there = recipe.generator(given["image"], seed_0)
    near(served.there_and_back(image, source.numpy(), target.numpy()), recipe.generator(there, own))


def test_an_image_is_the_same_in_every_batch_and_another_with_another_seed(served):
    image, target = to_pixels(balanced(3, 1)["image"])[[0, 0, 0]], np.array([2, 2, 2])
    whole = served.translate(image, target, seed=1)
    alone = served.translate(image[2:], target[2:], seed=1, first=2)
    assert np.abs(alone[0].astype(int) - whole[2]).max() <= 1  # a sum's last bits depend on the batch
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole, served.translate(image, target, seed=2))
    assert served.translate(image[:0], target[:0]).shape == (0, SIZE, SIZE, 1)
    many = served.translate(np.repeat(image[:1], 70, 0), np.full(70, 2), style=np.zeros((70, 5)))  # more than one part
    assert np.ptp(many.astype(int), axis=0).max() <= 1


def test_with_high_pass_edges_pass_everywhere_in_training_and_in_what_is_exported():
    model, facts = MODEL | {"high_pass": 1.0, "bottleneck": 16, "width": 2, "max_width": 2}, replace(FACTS, image_size=32)
    recipe = build(facts, model=model)
    scalars = recipe.training_step(batches(0, 32), 0)
    assert all(torch.isfinite(scalar) for scalar in scalars.values())
    given = balanced(3, 5, 32)
    graph = recipe.eval().exportable().graphs["generator"]
    inputs = graph.inputs(given)
    ones = (torch.ones(3, 1, 32, 32), torch.ones(3, 1, 32, 32))
    with torch.no_grad():
        found, wanted = graph.module(**inputs), recipe.generator(**inputs, masks=ones)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(recipe.generator.render(recipe.content(inputs["image"]), inputs["style"]), wanted)
        assert (found - recipe.generator(**inputs)).abs().max() > 0.1


IMAGE, DOMAIN = np.zeros((2, SIZE, SIZE, 1), np.uint8), np.array([0, 1])
REFUSED = [
    ({"image": IMAGE}, {}, "the input must be a mapping with image and domain"),
    ({"image": IMAGE[:, :4], "domain": DOMAIN}, {}, r"image: the shape must be \[N, 8, 8, 1\]"),
    ({"image": IMAGE, "domain": DOMAIN + 2}, {}, r"domain: 2 whole numbers are expected \(0 bold, 1 plain, 2 serif\)"),
    ({"image": IMAGE, "domain": DOMAIN[:1]}, {}, "domain: 2 whole numbers"),
    ({"image": IMAGE, "domain": DOMAIN}, {"style_from": "reference"}, "reference: style_from is 'reference'"),
    ({"image": IMAGE, "domain": DOMAIN}, {"style_from": "style", "style": [1.0]}, "style: 5 finite numbers"),
    ({"image": IMAGE, "domain": DOMAIN}, {"seed": -1}, "seed: a whole number of at least 0"),
]


@pytest.mark.parametrize(("inputs", "params", "told"), REFUSED)
def test_what_cannot_be_served_is_refused(served, inputs, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs, params)


def test_wrong_arguments_of_translate_are_refused(served):
    for options, told in (
        ({"style": np.zeros((2, 5)), "reference": IMAGE}, "style, reference: one of them"),
        ({"style": np.zeros((2, 4))}, r"style: the shape must be \[2, 5\], found \[2, 4\]"),
        ({"style": np.zeros((3, 5))}, "image: 3 images are expected"),
    ):
        with pytest.raises(ValueError, match=told):
            served.translate(IMAGE, DOMAIN, **options)
