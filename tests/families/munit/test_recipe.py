"""The MUNIT recipe: its two updates against the paper's written out, what is exported and served, and what is refused."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bench.munit import plain_step
from families.pairs import FACTS, SIZE, batch, build, export, pixels, scattered, settings, watch

from components.core.artifact import Artifact
from components.core.batch import to_pixels
from components.families.munit.recipe import MUNITRecipe
from components.serving.pairs import BATCH, cells
from components.stages.train.checkpoint import serialise
from components.translation.pairs import adam

# ------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("share", [True, False], ids=["shared", "twice"])
@pytest.mark.parametrize("cycle", [0.0, 10.0])
def test_three_steps_are_those_of_the_paper_s_sequence(share, cycle):
    weights = {"image": 10.0, "content": 2.0, "style": 3.0, "cycle": cycle}
    ours = scattered(build("munit", share_forward=share, weights=weights)).double()
    plain = copy.deepcopy(ours)
    plain.optimizers = {name: adam(side, plain.settings) for name, side in plain.named_children()}
    for step in range(3):
        batches = {"train": batch(8, seed=step, dtype=torch.float64)}
        found, wanted = ours.training_step(batches, step), plain_step(plain, batches, step)
        assert list(found) == list(wanted)
        for name, term in wanted.items():
            torch.testing.assert_close(found[name], term, rtol=1e-10, atol=1e-10, msg=lambda told, name=name: f"{name}: {told}")
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["munit", "unit"])
def test_a_side_s_update_leaves_the_other_s_weights_and_gradients_alone(kind):
    recipe = scattered(build(kind))
    recipe.training_step({"train": batch()}, 0)
    first = {name: copy.deepcopy(list(getattr(recipe, name).parameters())) for name in recipe.optimizers}
    gradients = {name: [p.grad.clone() for p in getattr(recipe, name).parameters()] for name in recipe.optimizers}
    seen = watch(recipe)
    recipe.training_step({"train": batch(seed=1)}, 1)
    (one, weights, held), (two, others, _) = seen
    assert (one, two) == ("discriminators", "autoencoders")
    assert torch.equal(weights, torch.cat([p.detach().flatten() for p in first["autoencoders"]]))
    assert all(torch.equal(a, b) for a, b in zip(held, gradients["autoencoders"], strict=True))
    assert torch.equal(others, torch.cat([p.detach().flatten() for p in recipe.discriminators.parameters()]))
    assert not torch.equal(others, torch.cat([p.detach().flatten() for p in first["discriminators"]]))
    assert all(parameter.requires_grad for parameter in recipe.parameters())


def test_the_auto_encoders_update_leaves_the_discriminators_gradients_as_their_own_update_made_them():
    recipe, made = scattered(build("munit")), []
    post = recipe.optimizers["discriminators"].register_step_post_hook
    post(lambda *_: made.extend(p.grad.clone() for p in recipe.discriminators.parameters()))
    recipe.training_step({"train": batch()}, 0)
    assert all(torch.equal(p.grad, old) for p, old in zip(recipe.discriminators.parameters(), made, strict=True))


def test_a_step_depends_on_the_seed_and_the_step_alone_and_runs_in_bf16():
    def terms(step, **train):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return scattered(build("munit", **train)).training_step({"train": batch()}, step)

    first = terms(3)
    assert all(torch.isfinite(term) and term.dtype == torch.float32 for term in first.values())
    assert all(torch.equal(first[name], term) for name, term in terms(3).items())
    assert not torch.equal(first["style"], terms(4)["style"])
    assert torch.equal(first["image"], terms(4)["image"]), "no random style reaches it"


def test_random_styles_are_normal_and_of_the_seed_the_step_and_the_domain():
    images = [torch.zeros(2000, 1, SIZE, SIZE)] * 2
    recipe = build("munit")
    drawn = [*recipe.draw_noise(images, 3), *recipe.draw_noise(images, 4), *build("munit", seed=1).draw_noise(images, 3)]
    for first, other in zip(drawn, recipe.draw_noise(images, 3), strict=False):
        assert torch.equal(first, other)
    every = torch.cat(drawn, dim=1)
    torch.testing.assert_close(every.T.cov(), torch.eye(18), rtol=0, atol=0.12)
    assert every.mean(0).abs().max() < 0.12


@pytest.mark.slow
def test_without_the_style_s_loss_styles_are_ignored():
    """A square's shade in domain 1 is style: with L_s a translation's shade follows it, without it the content decides.

    Found: diversity 0.17 with L_s, 0.05 without.
    """
    model = {"width": 8, "downsamplings": 1, "blocks": 1, "mlp_width": 16, "style_width": 2, "style_downsamplings": 2}
    train = {"batch_size": 16, "learning_rate": 2e-3, "discriminator": {"width": 8, "layers": 2, "scales": 2}}
    spread = {}
    for style in (0.0, 1.0):
        recipe = build("munit", model=model, weights={"style": style}, **train)
        for step in range(200):
            recipe.training_step({"train": batch(16, seed=step)}, step)
        spread[style] = diversity(recipe.eval())
    assert spread[1.0] > 0.1
    assert spread[0.0] < 0.5 * spread[1.0]


@torch.no_grad()
def diversity(recipe, styles=16):
    """E |G(x, s_1) - G(x, s_2)|: of translations of one image into domain 1, in units of [-1, 1]."""
    image = batch(16, seed=999)["image"][::2]
    content, _ = recipe.autoencoders[0].encode(image)
    drawn = torch.randn(styles, recipe.style_width, generator=torch.Generator().manual_seed(0))
    made = torch.stack([recipe.autoencoders[1].decode(content, style.expand(len(image), -1)) for style in drawn])
    return (made[:, None] - made[None]).abs().mean().item() * styles / (styles - 1)


# ------------------------------------------------------------------------------------------------ what is served


@pytest.fixture(scope="module")
def recipe():
    return scattered(build("munit")).eval()


@pytest.fixture(scope="module")
def served(recipe, runtime, tmp_path_factory):
    return export(recipe, "munit", tmp_path_factory.mktemp("export"))


def near(found, wanted):
    """uint8 [N, H, W, C] against torch's [N, C, H, W]: rounding apart."""
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - to_pixels(wanted.detach())).max() <= 1
    assert len(np.unique(found)) > 20


def test_served_translations_are_torch_s(served, recipe):
    image, domain = pixels(6)
    x, nets = batch(6)["image"], recipe.autoencoders
    random = served.predict({"image": image, "domain": 1 - domain, "reference": image}, {"seed": 3})["image"]
    np.testing.assert_array_equal(random, served.translate(image, 1 - domain, seed=3))
    style = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    wanted = [nets[1 - k].decode(nets[k].encode(x[i : i + 1])[0], style[i : i + 1]) for i, k in enumerate(domain)]
    near(served.translate(image, 1 - domain, style=style.numpy()), torch.cat(wanted))
    others = [nets[1 - k].encode(x[[i - 1]])[1] for i, k in enumerate(domain)]  # an image's neighbours are of the other domain
    wanted = [nets[1 - k].decode(nets[k].encode(x[[i]])[0], others[i]) for i, k in enumerate(domain)]
    guided = served.predict(
        {"image": image, "domain": 1 - domain, "reference": np.roll(image, 1, axis=0)}, {"style_from": "reference"}
    )
    near(guided["image"], torch.cat(wanted))
    found = served.styles_of(np.roll(image, 1, axis=0), 1 - domain)
    np.testing.assert_allclose(found, torch.cat(others).detach(), atol=1e-4)
    one = served.predict({"image": image, "domain": 1 - domain}, {"style_from": "style", "style": [0.5, -1.0, 2.0]})["image"]
    np.testing.assert_array_equal(one, served.translate(image, 1 - domain, style=np.tile(np.float32([0.5, -1, 2]), (6, 1))))


def test_an_image_s_translation_does_not_depend_on_its_company(served):
    image, domain = pixels(BATCH + 5)
    whole = served.translate(image, 1 - domain, seed=1)
    part = served.translate(image[BATCH:], 1 - domain[BATCH:], seed=1, first=BATCH)
    assert np.abs(whole[BATCH:].astype(int) - part).max() <= 1
    assert np.abs(whole.astype(int) - served.translate(image, 1 - domain, seed=2)).max() > 5
    assert served.predict({"image": image[:0], "domain": domain[:0]})["image"].shape == (0, SIZE, SIZE, 1)


def test_reconstructions_and_codes_are_torch_s(served, recipe):
    image, domain = pixels(6)
    x, nets = batch(6)["image"], recipe.autoencoders
    near(served.reconstruct(image, domain), torch.cat([nets[k](x[i : i + 1]) for i, k in enumerate(domain)]))
    codes = served.codes(image, domain)
    encoded = [nets[k].encode(x[[i]]) for i, k in enumerate(domain)]
    content, style = (torch.cat(parts).detach() for parts in zip(*encoded, strict=True))
    np.testing.assert_allclose(codes["style"], style, atol=1e-4)
    means = torch.nn.functional.avg_pool2d(content, 2).flatten(1)  # 8 x 8 places, 4 x 4 cells
    np.testing.assert_allclose(codes["content"], means, atol=1e-4)
    back = served.there_and_back(image, domain, 1 - domain)
    there = served.translate(image, 1 - domain)
    np.testing.assert_array_equal(back, served.translate(there, domain, style=served.styles_of(image, domain)))


def test_cells_are_means_over_the_whole_image_whatever_its_side():
    content = np.random.default_rng(0).standard_normal((2, 3, 6, 3)).astype(np.float32)
    found = cells(content).reshape(2, 3, 4, 3)
    rows = [content[:, :, a:b].mean(2) for a, b in ((0, 1), (1, 3), (3, 4), (4, 6))]
    np.testing.assert_allclose(found, np.stack(rows, axis=2), atol=1e-6)


REFUSED = [
    ({"image": np.zeros((1, 8, 8, 1), np.uint8), "domain": np.array([0])}, {}, r"image: the shape must be \[N, 16, 16, 1\]"),
    ({"image": pixels(1)[0], "domain": np.array([2])}, {}, "domain: 1 whole numbers are expected .0 dark, 1 light."),
    ({"image": pixels(1)[0]}, {}, "image and domain"),
    ({"image": pixels(1)[0], "domain": np.array([1])}, {"style_from": "reference"}, "there is no such input"),
    ({"image": pixels(1)[0], "domain": np.array([1])}, {"style_from": "style", "style": [1.0]}, "3 finite numbers"),
    ({"image": pixels(1)[0], "domain": np.array([1])}, {"colour": 1}, "colour is not known"),
]


@pytest.mark.parametrize(("inputs", "params", "told"), REFUSED)
def test_what_cannot_be_served_is_refused(served, inputs, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs, params)


# ------------------------------------------------------------------------------------------------ links and bad input


def link(path, state):
    path.write_bytes(serialise(state))
    return Artifact(path, "")


def test_it_starts_from_another_run_and_from_published_files_nested_or_flat(tmp_path):
    first = scattered(build("munit"))
    own = {"init": link(tmp_path / "weights.pt", {"settings": {}, "state": first.state_dict()})}
    torch.testing.assert_close(build("munit", links=own).state_dict(), first.state_dict(), rtol=0, atol=0)
    both = zip("ab", first.autoencoders, strict=True), zip("ab", first.discriminators, strict=True)
    generators, discriminators = ({domain: net.state_dict() for domain, net in side} for side in both)
    files = {"init": link(tmp_path / "gen.pt", generators), "init_discriminator": link(tmp_path / "dis.pt", discriminators)}
    torch.testing.assert_close(build("munit", links=files).state_dict(), first.state_dict(), rtol=0, atol=0)
    flat = {f"{domain}.{name}": w for domain, state in generators.items() for name, w in state.items()}
    started = build("munit", links={"init": link(tmp_path / "flat.pt", flat)})
    torch.testing.assert_close(started.autoencoders.state_dict(), first.autoencoders.state_dict(), rtol=0, atol=0)
    assert not torch.equal(started.discriminators[0].cnns[0][0].conv.weight, first.discriminators[0].cnns[0][0].conv.weight)


def test_a_file_that_does_not_fit_is_refused_whole(tmp_path):
    recipe = build("munit")
    before = copy.deepcopy(recipe.state_dict())
    second = {name: w for name, w in recipe.autoencoders[1].state_dict().items() if "mlp" not in name}
    half = {"a": scattered(build("munit")).autoencoders[0].state_dict(), "b": second}
    with pytest.raises(ValueError, match=r"link init \(.*half.pt\): the published weights do not fit MUNIT: 6 missing: mlp"):
        build("munit", links={"init": link(tmp_path / "half.pt", half)})
    with pytest.raises(ValueError, match="domain 'a': not in the published file"):
        build("munit", links={"init": link(tmp_path / "other.pt", {"x": torch.zeros(1)})})
    with pytest.raises(ValueError, match="do not fit"):
        recipe.published["init"].load_published(half)
    torch.testing.assert_close(recipe.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("domains", "told"),
    [
        (None, "view 'v' has no domains to translate between"),
        (("dark",), "one domain, dark"),
        (("dark", "grey", "light"), "3 domains, dark, grey, light: this recipe translates between two"),
    ],
)
def test_a_view_of_other_than_two_domains_is_refused(domains, told):
    classes = {"label": ("square",)} | ({"domain": domains} if domains else {})
    with pytest.raises(ValueError, match=told):
        build("munit", facts=replace(FACTS, classes=classes))


@pytest.mark.parametrize(
    ("size", "given", "told"),
    [
        (16, {"batch_size": 6, "processes": 2}, "train.batch_size: 6 is not allowed: a multiple of the 2 domains"),
        (16, {"discriminator": {"layers": 4, "scales": 3}}, "train.discriminator: image_size: 16 is too small"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_work(size, given, told):
    with pytest.raises(ValueError, match=told):
        MUNITRecipe.check(settings("munit", **given), SimpleNamespace(image_size=size, channels=1), {})


def test_the_network_is_the_recipe_s_own_and_fits_the_view():
    view = SimpleNamespace(image_size=SIZE, channels=1)
    with pytest.raises(ValueError, match=r"model\.name: 'unit' is not allowed"):
        MUNITRecipe.check(replace(settings("munit"), model=settings("unit").model), view, {})
    MUNITRecipe.check(settings("munit"), view, {})
    with pytest.raises(ValueError, match="image_size: 10 is not a multiple of 4"):
        MUNITRecipe.build_network(settings("munit", model={"downsamplings": 2}), 10, 1, 2)
