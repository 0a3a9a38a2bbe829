"""The UNIT recipe: a step against the paper's equations written out, what is exported and served, and what is refused."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families.pairs import FACTS, SIZE, batch, build, export, pixels, scattered, settings

from components.core.artifact import Artifact
from components.core.batch import to_pixels
from components.core.step import draw, optimize
from components.families.unit.recipe import UNITRecipe
from components.stages.train.checkpoint import serialise
from components.translation.pairs import adam


def plain_step(recipe, batches, step):
    """Both updates, each from the beginning and without sharing."""
    image, domain = batches["train"]["image"], batches["train"]["domain"]
    (x_a, x_b), (gen_a, gen_b), (dis_a, dis_b) = (
        [image[domain == k] for k in (0, 1)],
        recipe.autoencoders,
        recipe.discriminators,
    )
    weights = recipe.settings.weights

    def noisy(mean, use):
        return mean + draw(tuple(mean.shape), seed=recipe.seed, step=step, use=use).double()

    z_a, z_b = noisy(gen_a.enc(x_a), "latent_0"), noisy(gen_b.enc(x_b), "latent_1")
    x_ba, x_ab = gen_a.dec(z_b).detach(), gen_b.dec(z_a).detach()
    discriminator = 0.0
    for dis, real, fake in ((dis_a, x_a, x_ba), (dis_b, x_b, x_ab)):
        for r, f in zip(dis(real), dis(fake), strict=True):
            discriminator = discriminator + ((r - 1) ** 2).mean() + (f**2).mean()
    optimize({"discriminator": discriminator}, recipe.optimizers["discriminators"])

    mean_a, mean_b = gen_a.enc(x_a), gen_b.enc(x_b)
    z_a, z_b = noisy(mean_a, "latent_0"), noisy(mean_b, "latent_1")
    x_ba, x_ab = gen_a.dec(z_b), gen_b.dec(z_a)
    mean_ba, mean_ab = gen_a.enc(x_ba), gen_b.enc(x_ab)
    x_aba, x_bab = gen_a.dec(noisy(mean_ab, "cycle_1")), gen_b.dec(noisy(mean_ba, "cycle_0"))
    terms = {
        "adversarial": sum(((scores - 1) ** 2).mean() for scores in [*dis_a(x_ba), *dis_b(x_ab)]),
        "image": (gen_a.dec(z_a) - x_a).abs().mean() + (gen_b.dec(z_b) - x_b).abs().mean(),
        "prior": (mean_a**2).mean() + (mean_b**2).mean(),
        "cycle_prior": (mean_ab**2).mean() + (mean_ba**2).mean(),
        "cycle": (x_aba - x_a).abs().mean() + (x_bab - x_b).abs().mean(),
    }
    scales = {"adversarial": 1.0} | weights.model_dump()
    optimize({name: scales[name] * term for name, term in terms.items()}, recipe.optimizers["autoencoders"])
    return {"discriminator": discriminator, **terms}


@pytest.mark.parametrize("share", [True, False], ids=["shared", "twice"])
def test_three_steps_are_those_of_the_paper_s_sequence(share):
    weights = {"image": 7.0, "prior": 0.2, "cycle": 5.0, "cycle_prior": 0.3}
    ours = scattered(build("unit", share_forward=share, weights=weights)).double()
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


@pytest.mark.parametrize(
    ("weights", "terms"),
    [
        ({"cycle": 0.0}, ["discriminator", "adversarial", "image", "prior", "cycle_prior"]),
        ({"cycle": 0.0, "cycle_prior": 0.0}, ["discriminator", "adversarial", "image", "prior"]),
        ({"cycle_prior": 0.0}, ["discriminator", "adversarial", "image", "prior", "cycle_prior", "cycle"]),
    ],
)
def test_it_does_without_the_cycle(weights, terms):
    assert list(build("unit", weights=weights).training_step({"train": batch()}, 0)) == terms


def test_it_runs_in_bf16_with_terms_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = scattered(build("unit")).training_step({"train": batch()}, 0)
    assert all(torch.isfinite(term) and term.dtype == torch.float32 for term in terms.values())


@pytest.fixture(scope="module")
def recipe():
    return scattered(build("unit")).eval()


@pytest.fixture(scope="module")
def served(recipe, runtime, tmp_path_factory):
    return export(recipe, "unit", tmp_path_factory.mktemp("export"))


@pytest.mark.slow
def test_what_is_served_is_torch_s_means_without_noise(served, recipe):
    image, domain = pixels(6)
    x, nets = batch(6)["image"], recipe.autoencoders
    with torch.no_grad():
        means = [nets[k].enc(x[i : i + 1]) for i, k in enumerate(domain)]
        across = torch.cat([nets[1 - k].dec(mean) for k, mean in zip(domain, means, strict=True)])
        within = torch.cat([nets[k].dec(mean) for k, mean in zip(domain, means, strict=True)])
    translated = served.predict({"image": image, "domain": 1 - domain})["image"]
    for found, wanted in ((translated, across), (served.reconstruct(image, domain), within)):
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - to_pixels(wanted)).max() <= 1
        assert len(np.unique(found)) > 20
    codes = served.codes(image, domain)
    assert list(codes) == ["content"]
    np.testing.assert_allclose(codes["content"], torch.nn.functional.avg_pool2d(torch.cat(means), 2).flatten(1), atol=1e-4)
    np.testing.assert_array_equal(served.there_and_back(image, domain, 1 - domain), served.translate(translated, domain))
    assert served.predict({"image": image[:0], "domain": domain[:0]})["image"].shape == (0, SIZE, SIZE, 1)


@pytest.mark.slow
def test_what_cannot_be_served_is_refused(served):
    image, domain = pixels(2)
    for inputs, params, told in (
        ({"image": image, "domain": np.array([0, -1])}, {}, "domain: 2 whole numbers are expected"),
        ({"image": image, "domain": domain, "reference": image}, {}, "the input must be a mapping with image and domain"),
        ({"image": image, "domain": domain}, {"seed": 1}, "params: seed is not known; allowed: none"),
        ({"image": image[:, :8], "domain": domain}, {}, r"image: the shape must be \[N, 16, 16, 1\]"),
    ):
        with pytest.raises(ValueError, match=told):
            served.predict(inputs, params)
    with pytest.raises(ValueError, match="style, reference: this model has one translation"):
        served.translate(image, domain, reference=image)


def test_it_starts_from_published_files(tmp_path):
    first = scattered(build("unit"))
    links = {}
    for role, side in (("init", first.autoencoders), ("init_discriminator", first.discriminators)):
        file = {domain: network.state_dict() for domain, network in zip("ab", side, strict=True)}
        (tmp_path / f"{role}.pt").write_bytes(serialise(file))
        links[role] = Artifact(tmp_path / f"{role}.pt", "")
    torch.testing.assert_close(build("unit", links=links).state_dict(), first.state_dict(), rtol=0, atol=0)


def test_what_does_not_fit_is_refused_before_any_work():
    view = SimpleNamespace(image_size=SIZE, channels=1)
    UNITRecipe.check(settings("unit"), view, {})
    with pytest.raises(ValueError, match=r"model\.name: 'munit' is not allowed"):
        UNITRecipe.check(replace(settings("unit"), model=settings("munit").model), view, {})
    with pytest.raises(ValueError, match="3 domains, a, b, c"):
        build("unit", facts=replace(FACTS, classes={"domain": ("a", "b", "c")}))
    with pytest.raises(ValueError, match=r"train\.batch_size: 5 is not allowed"):
        build("unit", batch_size=5)
