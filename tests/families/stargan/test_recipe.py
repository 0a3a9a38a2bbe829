"""The StarGAN recipe: who learns when, its losses, the mask of two data sets, what is exported, served and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.core.artifact import Artifact
from components.core.batch import ViewFacts, to_pixels, to_unit_range
from components.core.config.strict import SettingsError, parse
from components.core.settings import ModelSettings, RunSettings, parse_model
from components.families.stargan import recipe as stargan
from components.families.stargan.recipe import StarGANRecipe
from components.families.stargan.settings import TrainSettings, check_run
from components.serving.loading import load_served
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise
from components.stages.train.settings import LoopSettings
from components.translation.judges import Settings

SIZE, BATCH = 16, 6
FACTS = ViewFacts("v", SIZE, 1, {"domain": ("dark", "light")}, (0.0,), (1.0,), {"train": 9}, "")
OTHER = replace(FACTS, name="w", classes={"domain": ("thin", "thick", "tall")})
MODEL = {"name": "stargan", "width": 4, "blocks": 1, "discriminator_width": 4, "depth": 2}
BOTH = {"main": FACTS, "second": OTHER}


class Train(TrainSettings, LoopSettings):
    pass


def settings(model=None, **train):
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": BATCH, "learning_rate": 1e-3}
    return RunSettings(
        name="test",
        recipe="stargan",
        view="v",
        model=parse_model(MODEL | (model or {}), "model"),
        train=parse(Train, block | {"critic_steps": 2} | train, "train"),
        export=None,
        evaluate=Settings(),
    )


def build(views=None, links=None, model=None, **train):
    torch.manual_seed(0)
    recipe = StarGANRecipe.build(settings(model, **train), views or {"main": FACTS}, {})
    recipe.notes = [line for start in initialise(recipe, links or {}) for line in start.lines()]
    return recipe


def batch(domains=2, count=BATCH, step=0):
    """A domain is a brightness; noise of 20 levels."""
    domain = torch.arange(count) % domains
    noise = torch.randint(0, 20, (count, SIZE, SIZE, 1), generator=torch.Generator().manual_seed(step))
    return {"image": to_unit_range((20 + 80 * domain.view(-1, 1, 1, 1) + noise).to(torch.uint8)), "domain": domain}


def batches(step=0, both=False):
    return {"train": batch(step=step)} | ({"second": batch(3, step=step)} if both else {})


def state(network):
    """Weights and gradients."""
    return [(p.detach().clone(), None if p.grad is None else p.grad.clone()) for p in network.parameters()]


def same(before, after):
    return all(
        torch.equal(weight, other) and (grad is other_grad is None or torch.equal(grad, other_grad))
        for (weight, grad), (other, other_grad) in zip(before, after, strict=True)
    )


# ------------------------------------------------------------------------------------------------ who learns when


def test_each_update_leaves_the_other_side_s_weights_and_gradients_alone(monkeypatch):
    """On two data sets; the generator is updated at every second step."""
    recipe, order = build(BOTH), []

    def watched(losses, optimizer):
        name = next(name for name, own in recipe.optimizers.items() if own is optimizer)
        mine, theirs = recipe.generator, recipe.discriminator
        if name == "discriminator":
            mine, theirs = theirs, mine
        before = state(mine), state(theirs)
        optimize(losses, optimizer)
        assert same(before[1], state(theirs))
        assert not same(before[0], state(mine))
        order.append(name[0])

    optimize = stargan.optimize
    monkeypatch.setattr(stargan, "optimize", watched)
    for step in range(4):
        scalars = recipe.training_step(batches(step, both=True), step)
        assert ("reconstruction" in scalars) == ("second_reconstruction" in scalars) == (step in (1, 3))
    assert "".join(order) == "dd" + "dgdg" + "dd" + "dgdg"


def test_it_runs_in_bf16():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = build().training_step(batches(), 1)
    assert all(torch.isfinite(term) for term in terms.values())


def test_targets_are_the_batch_s_domains_in_an_order_of_the_step_alone():
    recipe, domain = build(), torch.arange(60) % 2
    first, second = recipe.shuffled(domain, 0, 7), recipe.shuffled(domain, 0, 8)
    assert torch.equal(first, build().shuffled(domain, 0, 7))
    assert not torch.equal(first, second)
    assert first.bincount().tolist() == [30, 30]
    assert 10 < (first != domain).sum() < 50


def test_it_learns_to_make_dark_images_light_and_light_ones_dark():
    recipe = build(learning_rate=4e-3, critic_steps=2, reconstruction=1.0)
    for step in range(80):
        recipe.training_step(batches(step), step)
    found = batch(count=20, step=1000)
    with torch.no_grad():
        made = recipe.generator(found["image"], recipe.label(1 - found["domain"], 0))
    brightness = to_pixels(made).reshape(20, -1).mean(1)
    assert brightness[::2].mean() > 70 > brightness[1::2].mean(), "dark is 30, light 110"


# ------------------------------------------------------------------------------------------------ the losses


def test_the_losses_are_the_paper_s_in_float64():
    """Each term, image by image, from the networks' outputs; the penalty from numerical slopes."""
    recipe = build(gradient_penalty=7.0, classification=2.0, reconstruction=3.0).double()
    image, domain = batch()["image"].double(), batch()["domain"]
    target = domain.flip(0)
    with torch.no_grad():
        fake = recipe.generator(image, torch.eye(2)[target])
    found = recipe.discriminator_losses(image, domain, fake, 0, step=5)
    share = recipe.draw((BATCH,), 5, "share_0", "uniform").double()

    def slope(n):
        x = (share[n] * image[n] + (1 - share[n]) * fake[n])[None]
        steps = 1e-6 * torch.eye(SIZE * SIZE, dtype=torch.float64).view(-1, 1, SIZE, SIZE)
        with torch.no_grad():
            scores = [recipe.discriminator(x + sign * steps)[0].flatten(1).sum(1) for sign in (1, -1)]
        return ((scores[0] - scores[1]) / 2e-6).norm().item()

    with torch.no_grad():
        real_score, logits = recipe.discriminator(image)
        fake_score, fake_logits = recipe.discriminator(fake)
        back = recipe.generator(fake, torch.eye(2)[domain])
    likely = [np.log(np.exp(row[k]) / np.exp(row).sum()) for row, k in zip(logits.numpy(), domain, strict=True)]
    assert found["critic"].item() == pytest.approx((fake_score.mean() - real_score.mean()).item(), abs=1e-12)
    assert found["penalty"].item() == pytest.approx(7 * np.mean([(slope(n) - 1) ** 2 for n in range(BATCH)]), rel=1e-5)
    assert found["classification"].item() == pytest.approx(-2 * np.mean(likely), abs=1e-12)
    found = recipe.generator_losses(image, domain, fake, target, 0)
    likely = [np.log(np.exp(row[k]) / np.exp(row).sum()) for row, k in zip(fake_logits.numpy(), target, strict=True)]
    assert found["adversarial"].item() == pytest.approx(-fake_score.mean().item(), abs=1e-12)
    assert found["fake_classification"].item() == pytest.approx(-2 * np.mean(likely), abs=1e-12)
    assert found["reconstruction"].item() == pytest.approx(3 * np.abs((image - back).numpy()).mean(), abs=1e-12)


def test_shared_translations_give_the_gradients_of_the_plain_sequence(monkeypatch):
    """The generator's: of all terms computed anew, with the discriminator as it is after its own update."""
    recipe = build()
    given = {}

    def noting(losses, optimizer):
        if optimizer is recipe.optimizers["generator"]:
            given["discriminator"] = {name: weight.clone() for name, weight in recipe.discriminator.state_dict().items()}
        optimize(losses, optimizer)

    optimize = stargan.optimize
    monkeypatch.setattr(stargan, "optimize", noting)
    recipe.training_step(batches(), 1)
    again = build()
    again.discriminator.load_state_dict(given["discriminator"])
    image, domain = batch()["image"], batch()["domain"]
    target = again.shuffled(domain, 0, 1)
    fake = again.generator(image, again.label(target, 0))
    sum(again.generator_losses(image, domain, fake, target, 0).values()).backward()
    for mine, theirs in zip(recipe.generator.parameters(), again.generator.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------ two data sets


def test_labels_that_a_data_set_does_not_know_learn_nothing_from_its_images():
    recipe = build(BOTH)
    assert recipe.label(torch.tensor([2]), 1).tolist() == [[0, 0, 0, 0, 1, 0, 1]]
    assert recipe.label(torch.tensor([1]), 0).tolist() == [[0, 1, 0, 0, 0, 1, 0]]
    for dataset, domains, known in ((0, 2, slice(0, 2)), (1, 3, slice(2, 5))):
        recipe.zero_grad()
        image, domain = batch(domains)["image"], batch(domains)["domain"]
        fake = recipe.generator(image, recipe.label(domain, dataset))
        sum(recipe.discriminator_losses(image, domain, fake.detach(), dataset, 0).values()).backward()
        learnt = recipe.discriminator.conv2.weight.grad.abs().sum((1, 2, 3)) > 0
        assert learnt.nonzero().flatten().tolist() == list(range(5))[known]
        sum(recipe.generator_losses(image, domain, fake, domain, dataset).values()).backward()
        told = recipe.generator.main[0].weight.grad[:, 1:].abs().sum((0, 2, 3)) > 0
        assert told.nonzero().flatten().tolist() == [*range(5)[known], 5 + dataset]


def test_two_data_sets_are_two_streams_that_hold_each_domain_equally_often():
    streams = build(BOTH).streams()
    assert {role: (s.view, s.sampler, s.by, s.batch_size) for role, s in streams.items()} == {
        "train": ("main", "balanced", "domain", BATCH),
        "second": ("second", "balanced", "domain", BATCH),
    }
    assert list(build().streams()) == ["train"]


# ------------------------------------------------------------------------------------------------ weights to start from


def test_it_starts_from_another_run_of_its_own_and_from_published_files(tmp_path):
    first = build()
    first.training_step(batches(), 1)
    files = {"own": {"state": first.state_dict()}, "G": first.generator.state_dict(), "D": first.discriminator.state_dict()}
    for name, content in files.items():
        (tmp_path / f"{name}.pt").write_bytes(serialise(content))
    found = {name: build(links={"init": Artifact(tmp_path / f"{name}.pt", "")}) for name in files}
    fresh = build()
    for name, generator, discriminator in (("own", first, first), ("G", first, fresh), ("D", fresh, first)):
        wanted = generator.generator.state_dict(), discriminator.discriminator.state_dict()
        state = found[name].generator.state_dict(), found[name].discriminator.state_dict()
        torch.testing.assert_close(state, wanted, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"link init \(.*own.pt\): .*do not fit"):
        build(links={"init": Artifact(tmp_path / "own.pt", "")}, model={"width": 8})
    more = build(BOTH, {"init": Artifact(tmp_path / "own.pt", "")})
    assert [note.split(": ")[1] for note in more.notes] == ["generator.main.0.weight", "discriminator.conv2.weight"]
    torch.testing.assert_close(more.discriminator.main.state_dict(), first.discriminator.main.state_dict(), rtol=0, atol=0)


# ------------------------------------------------------------------------------------------------ what is served


def export(recipe, folder, shown=2):
    exportable = recipe.eval().exportable()
    write_graphs(exportable, [batch(shown, 2), batch(shown, 1), batch(shown, 7)], folder, threads=1)
    write_rest(exportable, batch(shown, 2), folder)
    write_code("stargan", folder)
    return load_served(folder)


@pytest.fixture(scope="module")
def both():
    recipe = build(BOTH)
    for step in range(4):
        recipe.training_step(batches(step, both=True), step)
    return recipe.eval()


@pytest.fixture(scope="module")
def served(both, runtime, tmp_path_factory):
    return export(both, tmp_path_factory.mktemp("export"))


def near(found, wanted):
    return found.dtype == np.uint8 and np.abs(found.astype(int) - to_pixels(wanted.clamp(-1, 1))).max() <= 1


def test_served_translations_are_the_network_s_also_into_the_second_data_set_s_domains(served, both):
    image, domain = batch(count=10)["image"], torch.arange(10) % 5
    with torch.no_grad():
        wanted = both.generator(image, both.labels[domain])
        back = both.generator(wanted, both.labels[batch(count=10)["domain"]])
    pixels = to_pixels(image)
    found = served.predict({"image": pixels, "domain": domain.numpy()})["image"]
    assert served.facts["domains"] == ["dark", "light", "thin", "thick", "tall"]
    assert near(found, wanted)
    assert len(np.unique(found, axis=0)) == 10
    assert near(served.there_and_back(pixels, batch(count=10)["domain"].numpy(), domain.numpy()), back)
    np.testing.assert_array_equal(served.translate(pixels, domain.numpy(), seed=3, first=2), found)
    assert served.translate(pixels[:0], np.zeros(0, int)).shape == (0, SIZE, SIZE, 1)
    example = np.load(served.folder / "example.npz")
    assert example["domain"].tolist() == [1, 0]
    assert served.predict(dict(example))["image"].shape == (2, SIZE, SIZE, 1)


PIXELS = np.zeros((2, SIZE, SIZE, 1), np.uint8)
INTO = np.array([0, 1])


@pytest.mark.parametrize(
    ("inputs", "params", "told"),
    [
        ({"image": PIXELS, "domain": np.array([0, 5])}, {}, "domain: 2 whole numbers are expected .0 dark, .* 4 tall"),
        ({"image": PIXELS, "domain": np.array([0])}, {}, "domain: 2 whole numbers"),
        ({"image": PIXELS[:, :8], "domain": INTO}, {}, "image: the shape must be"),
        ({"image": PIXELS}, {}, "the input must be a mapping with image and domain, found image"),
        ({"image": PIXELS, "domain": INTO, "reference": PIXELS}, {}, "image and domain, found image, domain, reference"),
        ({"image": PIXELS, "domain": INTO}, {"seed": 1}, "params: seed is not known; allowed: none"),
    ],
)
def test_what_cannot_be_served_is_refused(served, inputs, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs, params)


def test_there_are_no_styles(served):
    with pytest.raises(ValueError, match="one translation for each domain, and takes neither"):
        served.translate(PIXELS, INTO, reference=PIXELS)


@pytest.mark.slow
@pytest.mark.usefixtures("runtime")
def test_running_statistics_are_exported_as_they_were_counted(tmp_path):
    """In eval mode, which is then another network than the one that was trained."""
    recipe = build(model={"running_statistics": True})
    for step in range(4):
        recipe.training_step(batches(step), step)
    image, label = batch()["image"], recipe.labels[1 - batch()["domain"]]
    with torch.no_grad():
        trained, evaluated = (recipe.train(mode).generator(image, label) for mode in (True, False))
    found = export(recipe, tmp_path).translate(to_pixels(image), 1 - batch()["domain"].numpy())
    assert near(found, evaluated)
    assert not near(found, trained)


# ------------------------------------------------------------------------------------------------ before any work


@pytest.mark.parametrize(
    ("views", "change", "told"),
    [
        ({"main": replace(FACTS, classes={"label": ("a", "b")})}, {}, "view 'v' has no domains"),
        ({"main": replace(FACTS, classes={"domain": ("a",)})}, {}, "view 'v' has one domain, a"),
        ({"main": replace(FACTS, image_size=12)}, {}, "image_size: 12 is not allowed: a multiple of 4 pixels, at least 16"),
        ({"main": FACTS}, {"batch_size": 5}, "train.batch_size: 5 is not allowed: a multiple of the 2 domains"),
        (BOTH, {"batch_size": 8}, "train.batch_size: 8 is not allowed: a multiple of the 3 domains"),
        ({"main": FACTS, "second": FACTS}, {}, "link second: dark, light stands in both views, 'v' and 'v'"),
        ({"main": FACTS, "second": replace(OTHER, channels=3)}, {}, "view 'w' are 16 x 16 x 3, those of 'v' 16 x 16 x 1"),
        ({"main": FACTS, "third": OTHER}, {}, "links to views: third is not a role that is trained on; allowed: second"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_translated_are_refused(views, change, told):
    with pytest.raises(ValueError, match=told):
        build(views, **change)


@pytest.mark.parametrize(
    ("model", "train", "told"),
    [
        (None, {}, "model.name: 'unet' is no StarGAN; allowed: stargan"),
        ({}, {"compile": True}, "train.compile: true is not allowed"),
        ({}, {"steps": 4, "critic_steps": 5}, "train.steps: 4 is not allowed: the generator is first updated at step 5"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_work(model, train, told):
    run = settings(model, **train)
    with pytest.raises(ValueError, match=told):
        check_run(run if model is not None else replace(run, model=ModelSettings("unet", {})), None)


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="betas"):
        settings(betas=[0.5, 1.0])
    with torch.device("meta"), pytest.raises(ValueError, match="depth: 9 is not allowed"):
        StarGANRecipe.build_network(settings({"depth": 9}), SIZE, 1, 2)
