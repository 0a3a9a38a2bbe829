"""The diffusion recipe: what is learnt, what conditions do, what is exported, served, and reported."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families.noisy_classifier.test_recipe import NoisyClassifier
from families.noisy_classifier.test_recipe import settings as noisy_settings

from components.core.artifact import Artifact
from components.core.batch import Split, ViewFacts, to_pixels, to_unit_range
from components.core.config.strict import NoSettings, SettingsError, parse
from components.core.settings import RunSettings, parse_model
from components.diffusion.conditions import tokens_of
from components.diffusion.objective import draw_times, variational_bound
from components.diffusion.samplers import image_generators
from components.diffusion.sampling import SamplerOptions, draw_images
from components.families.diffusion import evaluation
from components.families.diffusion.evaluation import Settings, evaluate
from components.families.diffusion.export import graph_inputs
from components.families.diffusion.recipe import Diffusion
from components.families.diffusion.settings import TrainSettings
from components.serving.loading import load_served
from components.serving.pixels import from_unit_range
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise
from components.stages.train.settings import LoopSettings

SIZE = 8
FACTS = ViewFacts("v", SIZE, 1, {"label": ("dark", "grey", "light")}, (0.0,), (1.0,), {"train": 9}, "")
UNET = {"name": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4}
TEXT = {"template": "a {label} image", "context": 20, "width": 8, "depth": 1, "heads": 1}
COSINE = {"schedule": "cosine", "num_steps": None}


class Train(TrainSettings, LoopSettings):
    pass


def settings(conditions=None, evaluate=None, model=UNET, **train):
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": 12, "learning_rate": 5e-3}
    block |= {"noise": COSINE, "target": "v", "weighting": "plain", "conditions": conditions or {}}
    return RunSettings(
        name="test",
        recipe="diffusion",
        view="v",
        model=parse_model(model, "model"),
        train=parse(Train, block | train, "train"),
        export=NoSettings(),
        evaluate=parse(Settings, {"rows": 2, "samples": 12, "steps": 3} | (evaluate or {}), "evaluate"),
    )


def build(conditions=None, links=None, facts=FACTS, spread=0.0, **train):
    """The recipe; ``spread``: of numbers added to all weights, since a new network answers 0 whatever it is asked."""
    torch.manual_seed(0)
    recipe = Diffusion.build(settings(conditions, **train), {"main": facts}, {})
    initialise(recipe, links or {})
    with torch.no_grad():
        for parameter in recipe.model.network.parameters():
            parameter.add_(spread * torch.randn(parameter.shape))
    return recipe


def batch(count=12):
    """A class is a brightness; the left half is darker."""
    label = torch.arange(count) % 3
    noise = torch.randint(0, 20, (count, SIZE, SIZE, 1), generator=torch.Generator().manual_seed(0))
    pixels = (20 + 90 * label.view(-1, 1, 1, 1) + noise).to(torch.uint8)
    pixels[:, :, : SIZE // 2] -= 20
    return {"image": to_unit_range(pixels), "label": label}


def export(recipe, folder, graphs=False, images=None):
    """An export folder, without its graph unless asked: the served code samples with the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    exportable = recipe.eval().exportable()
    if graphs:
        write_graphs(exportable, [batch(2), batch(1), batch(7)], folder, threads=1)
    write_rest(exportable, images or batch(2), folder)
    write_code("diffusion", folder)
    return load_served(folder)


# ------------------------------------------------------------------------------------------------ training

WAYS = [
    {"noise": COSINE, "target": "v", "weighting": "plain"},
    {"noise": {"schedule": "linear", "num_steps": 1000}, "target": "eps", "weighting": "simple"},
    {"noise": {"schedule": "vdm_fixed", "num_steps": None}, "target": "x0", "weighting": "min_snr"},
    {"noise": {"schedule": "vdm_learned", "num_steps": None}, "target": "eps", "weighting": "vlb"},
    {"noise": {"schedule": "vdm_learned", "num_steps": 100}, "target": "v", "weighting": "vlb"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way['noise']['schedule']}-{way['target']}")
def test_a_few_steps_learn_whatever_schedule_target_and_weight(way):
    recipe = build({"label": True, "label_dropout": 0.2}, **way)
    before = recipe.model.schedule.log_snr(torch.tensor([0.0, 1.0])).detach()
    curve = [recipe.training_step({"train": batch()}, step)["loss"].item() for step in range(20)]
    assert np.mean(curve[-5:]) < 0.9 * np.mean(curve[:5])
    torch.manual_seed(0)
    with torch.no_grad():
        validated = recipe.eval().validate({"train": batch()})["loss"]
    assert validated.mean().item() == pytest.approx(np.mean(curve[-5:]), rel=0.5), "in the units of the training loss"
    after = recipe.model.schedule.log_snr(torch.tensor([0.0, 1.0])).detach()
    assert torch.equal(before, after) == (way["noise"]["schedule"] != "vdm_learned")


def test_a_step_depends_on_the_seed_and_the_step_alone_and_runs_in_bf16():
    low = {"label": True, "text": TEXT, "low_resolution": {"factor": 2, "noise": 0.2}, "label_dropout": 0.5}

    def loss(step, seed=0):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return build(low, spread=0.05, seed=seed).training_step({"train": batch()}, step)["loss"]

    first = loss(3)
    assert torch.isfinite(first)
    assert first.dtype == torch.float32
    assert torch.equal(first, loss(3))
    assert not torch.equal(first, loss(4))
    assert not torch.equal(first, loss(3, seed=1))


def test_adam_has_ddpm_s_constants():
    """Appendix B: standard values, which are TensorFlow's of 2020: eps 1e-8, no weight decay."""
    group = build().optimizers["model"].param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0)


def test_the_update_is_bounded_by_the_clipped_norm():
    norms = {}
    for bound in (None, 1e-3):
        recipe = build(spread=0.05, clip_norm=bound)
        recipe.training_step({"train": batch()}, 0)
        norms[bound] = torch.nn.utils.get_total_norm([p.grad for p in recipe.parameters() if p.grad is not None]).item()
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[None] > 0.01


def test_conditions_are_dropped_together_and_as_often_as_asked():
    recipe = build({"label": True, "text": TEXT, "low_resolution": {"factor": 4}, "label_dropout": 0.3})
    whole = recipe.condition(batch(300))
    kept = recipe.drop(whole, step=0)
    gone = kept["label"] == -1
    assert 0.2 < gone.double().mean() < 0.4
    assert torch.equal(gone, (kept["tokens"] == 0).all(1))
    assert torch.equal(gone, (kept["low_resolution"] == 0).all((1, 2, 3)))
    assert torch.equal(
        kept["tokens"][~gone], tokens_of(["a dark image", "a grey image", "a light image"], 20)[whole["label"]][~gone]
    )
    assert kept["low_resolution"].shape == (300, 1, 2, 2)
    assert not torch.equal(recipe.drop(whole, step=1)["label"], kept["label"])


def test_low_resolution_images_are_noised_in_training_alone():
    recipe = build({"low_resolution": {"factor": 2, "noise": 0.5}})
    plain = recipe.condition(batch(200))
    error = (recipe.add_noise(plain, 0)["low_resolution"] - plain["low_resolution"]).flatten(1).std(1)
    assert 0 < error.min() < error.max() < 1.0
    assert error.mean().item() == pytest.approx(0.25, abs=0.05)


def test_it_starts_from_another_run_of_its_own_and_from_a_published_file(tmp_path):
    first = build({"label": True}, spread=0.1)
    (tmp_path / "weights.pt").write_bytes(serialise({"settings": {}, "state": first.state_dict()}))
    second = build({"label": True}, {"init": Artifact(tmp_path / "weights.pt", "")})
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)
    (tmp_path / "published.pt").write_bytes(serialise(first.model.network.state_dict()))
    third = build({"label": True}, {"init": Artifact(tmp_path / "published.pt", "")})
    torch.testing.assert_close(third.state_dict(), first.state_dict(), rtol=0, atol=0)
    fourth = build({}, {"init": Artifact(tmp_path / "weights.pt", "")})
    state = fourth.state_dict()
    assert set(first.state_dict()) - set(state) == {"model.network.label_emb.weight"}
    torch.testing.assert_close(state, {name: first.state_dict()[name] for name in state}, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"link init \(.*weights.pt\): .*do not fit"):
        build({}, {"init": Artifact(tmp_path / "weights.pt", "")}, model=UNET | {"width": 4})


# ------------------------------------------------------------------------------------------------ what is served

EVERY = {"label": True, "text": TEXT, "low_resolution": {"factor": 2}, "label_dropout": 0.1}


@pytest.mark.usefixtures("runtime")
def test_the_graph_with_every_condition_is_torch_s_and_its_inputs_are_noised(tmp_path):
    recipe = build(EVERY, spread=0.05, model=UNET | {"multipliers": [1]})
    export(recipe, tmp_path, graphs=True)
    inputs = graph_inputs(recipe, batch(7))
    assert list(inputs) == ["x", "time", "label", "tokens", "low_resolution"]
    assert 0 < inputs["time"][0] < inputs["time"][-1] <= 1000
    assert (inputs["x"][0] - batch(7)["image"][0]).std() < (inputs["x"][-1] - batch(7)["image"][-1]).std()


LABELLED = {"label": True, "label_dropout": 0.1}
ASKED = {"label": np.array([0, 1, 2, 2])}


@pytest.fixture(scope="module")
def noisy_folder(tmp_path_factory):
    """A classifier of noised images that tells dark from light, without its graph: only its network guides."""
    torch.manual_seed(0)
    noisy, folder = NoisyClassifier.build(noisy_settings(), {"main": FACTS}, {}), tmp_path_factory.mktemp("noisy")
    for step in range(40):
        noisy.training_step({"train": batch()}, step)
    write_rest(noisy.eval().exportable(), batch(2), folder)
    write_code("noisy_classifier", folder)
    return folder


@pytest.fixture(scope="module")
def labelled():
    return build(LABELLED, spread=0.08)


@pytest.fixture(scope="module")
def served(labelled, noisy_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    shutil.copytree(noisy_folder, folder / "linked" / "classifier")
    return export(labelled, folder)


def test_served_samples_are_those_of_our_own_code(served, labelled):
    label = torch.from_numpy(ASKED["label"])
    for params, manner in (
        ({"steps": 5, "seed": 4}, SamplerOptions(steps=5)),
        (
            {"steps": 4, "seed": 4, "guidance_scale": 3.0, "sampler": "ddim", "eta": 0.5},
            SamplerOptions("ddim", 4, guidance_scale=3.0, eta=0.5),
        ),
    ):
        found = served.predict(ASKED, params)["image"]
        wanted = draw_images(labelled.model, (4, 1, SIZE, SIZE), {"label": label}, manner, image_generators(4, 0, 4))
        np.testing.assert_array_equal(found, from_unit_range(wanted.numpy()))
        assert found.dtype == np.uint8
        assert len(np.unique(found)) > 20


def test_an_image_is_the_same_in_every_batch_and_another_with_another_seed(served):
    whole = served.predict(ASKED, {"sampler": "ancestral", "steps": 5})["image"].astype(int)
    for i in range(4):
        alone = served.predict({"label": ASKED["label"][i : i + 1]}, {"sampler": "ancestral", "steps": 5, "first": i})["image"]
        assert np.abs(alone[0] - whole[i]).max() <= 1  # a sum's last bits depend on the batch
    assert np.abs(whole[2] - whole[3]).max() > 10
    assert np.abs(served.predict(ASKED, {"sampler": "ancestral", "steps": 5, "seed": 1})["image"] - whole).max() > 10
    assert served.predict({"label": np.zeros(0, np.int64)})["image"].shape == (0, SIZE, SIZE, 1)


def test_scale_0_ignores_the_label_and_1_is_the_plain_model(served):
    blind = served.predict({"label": np.array([0, 1])}, {"guidance_scale": 0.0, "steps": 4})["image"]
    np.testing.assert_array_equal(
        blind, served.predict({"label": np.array([2, 2])}, {"guidance_scale": 0.0, "steps": 4})["image"]
    )
    plain = served.predict(ASKED, {"steps": 4})["image"]
    np.testing.assert_array_equal(
        plain, served.predict(ASKED, {"steps": 4, "guidance_scale": 1.0, "interval_start": 0.3})["image"]
    )
    assert not np.array_equal(plain[:2], blind)
    far = served.predict(ASKED, {"steps": 4, "guidance_scale": 4.0})["image"]
    assert not np.array_equal(far, plain)
    np.testing.assert_array_equal(
        plain, served.predict(ASKED, {"steps": 4, "guidance_scale": 4.0, "interval_end": 1e-8})["image"]
    )


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "heun", "dpm_solver_2m"])
def test_a_linked_classifier_pulls_to_the_label(served, sampler):
    asked, params = {"label": np.repeat([0, 2], 8)}, {"sampler": sampler, "steps": 8, "guidance": "classifier"}
    brightness = {}
    for scale in (0.0, 3.0):
        brightness[scale] = served.predict(asked, params | {"guidance_scale": scale})["image"].reshape(2, -1).mean(1)
    assert brightness[3.0][1] - brightness[3.0][0] > brightness[0.0][1] - brightness[0.0][0] + 1
    np.testing.assert_array_equal(  # the network itself was told nothing, and scale 0 pulls nowhere
        served.predict(asked, params | {"guidance_scale": 0.0})["image"],
        served.predict(asked, {"sampler": sampler, "steps": 8, "guidance_scale": 0.0})["image"],
    )


def test_the_served_bound_is_the_variational_one(served, labelled):
    pixels, label = to_pixels(batch(6)["image"]), batch(6)["label"]
    found = served.bound(pixels, {"label": label.numpy()}, draws=2, seed=5)
    generator, totals = torch.Generator().manual_seed(5), []
    for _ in range(2):
        eps, eps_start = (torch.randn(6, 1, SIZE, SIZE, generator=generator) for _ in range(2))
        t = draw_times(6, None, generator, labelled.model.schedule.start)
        with torch.no_grad():
            bound = variational_bound(
                lambda x, time: labelled.model(x, time, {"label": label}), batch(6)["image"], eps, t, labelled.model.schedule,
                eps_start=eps_start, target="v", num_steps=None,
            )  # fmt: skip
        totals.append(bound.bits_per_dim().numpy())
    np.testing.assert_allclose(found["bits_per_dim"], np.mean(totals, axis=0), rtol=1e-4)
    np.testing.assert_allclose(found["bits_per_dim"], found["reconstruction"] + found["prior"] + found["diffusion"], rtol=1e-5)


REFUSED = [
    ({"label": np.array([3])}, {}, "label: 1 whole numbers from 0 to 2 are expected"),
    ({"image": np.zeros((1, 4, 4, 1), np.uint8)}, {}, "the input must be a mapping with label, found image"),
    ({"label": np.array([[0], [1]])}, {}, "label: 2 whole numbers"),
    (ASKED, {"colour": 1}, "params: colour is not known; allowed: sampler, steps, guidance_scale"),
    (ASKED, {"sampler": "euler"}, "sampler: 'euler' is not allowed"),
    (ASKED, {"steps": 0}, "steps: 0 is not allowed: at least 1"),
    (ASKED, {"guidance_scale": -1.0}, "guidance_scale: -1.0 is not allowed: at least 0"),
    (ASKED, {"gamma": 2.0}, "params: gamma is renamed; it is called guidance_scale now"),
    (ASKED, {"guidance": "both"}, "guidance: 'both' is not allowed: free, classifier"),
    (ASKED, {"interval_start": 0.7, "interval_end": 0.2}, "interval"),
    (ASKED, {"seed": -1}, "at least 0"),
]


@pytest.mark.parametrize(("inputs", "params", "told"), REFUSED)
def test_what_cannot_be_served_is_refused(served, inputs, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs, params)


def test_guidance_needs_something_to_guide(tmp_path):
    for name, conditions, told in (
        ("plain", {}, "this model is unconditional, there is nothing to guide to"),
        ("whole", {"label": True}, "never learnt to do without its condition"),
    ):
        served = export(build(conditions, noise={"schedule": "cosine", "num_steps": 5}), tmp_path / name)
        label = {"label": np.array([0 if conditions else -1])}
        with pytest.raises(ValueError, match=told):
            served.predict(label, {"guidance_scale": 2.0})
        with pytest.raises(ValueError, match="needs a linked noise-aware classifier"):
            served.predict(label, {"guidance": "classifier"})
        with pytest.raises(ValueError, match="steps: 6 is not allowed: 1 to the schedule's 5"):
            served.predict(label, {"steps": 6})
        assert served.predict(label)["image"].shape == (1, SIZE, SIZE, 1)
    with pytest.raises(ValueError, match="label: -1 is expected of this model, which is unconditional"):
        load_served(tmp_path / "plain").predict({"label": np.array([1])})


def test_a_text_is_read_and_one_that_is_too_long_is_refused(tmp_path):
    conditions = {"text": TEXT, "label_dropout": 0.1}
    recipe = build(conditions, spread=0.2)
    served = export(recipe, tmp_path)
    texts = np.array(["a dark image", "a light image", ""])
    found = served.predict({"text": texts}, {"steps": 3, "guidance_scale": 2.0})["image"]
    assert not np.array_equal(
        found[0], served.predict({"text": texts[[1, 1, 1]]}, {"steps": 3, "guidance_scale": 2.0})["image"][0]
    )
    nothing = served.predict({"text": texts[[2, 2, 2]]}, {"steps": 3})["image"]
    np.testing.assert_array_equal(nothing, served.predict({"text": texts}, {"steps": 3, "guidance_scale": 0.0})["image"])
    with np.load(tmp_path / "example.npz", allow_pickle=False) as example:
        assert example["text"].tolist() == ["a dark image", "a grey image"]
    for text, told in (
        (["a very light image, too long"], "longer than the context of 20"),
        ([3], "1 strings are expected"),
    ):
        with pytest.raises(ValueError, match=told):
            served.predict({"text": text})
    with pytest.raises(ValueError, match="'a light image' is 13 bytes long, longer than the context of 12"):
        build({"text": TEXT | {"context": 12}})


# ------------------------------------------------------------------------------------------------ super-resolution

LOW = {"label": True, "low_resolution": {"factor": 2}}


def blocks(count, seed):
    """Images of random 4 x 4 blocks, enlarged: what a super-resolution can know exactly."""
    small = torch.randint(0, 256, (count, 4, 4, 1), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return small.repeat_interleave(2, 1).repeat_interleave(2, 2), small


@pytest.fixture(scope="module")
def enlarging(served, tmp_path_factory):
    """A few hundred steps on blocks; its base makes 4 x 4 images of a label."""
    recipe, folder = build(LOW, learning_rate=1e-2), tmp_path_factory.mktemp("enlarging")
    for step in range(100):
        recipe.training_step({"train": {"image": to_unit_range(blocks(16, step)[0]), "label": torch.arange(16) % 3}}, step)
    small = replace(FACTS, image_size=4)
    base = folder / "linked" / "base"
    base.mkdir(parents=True)
    export(build(LABELLED, facts=small, spread=0.08), base)
    return export(recipe, folder)


def test_an_enlarged_image_made_small_again_resembles_what_it_was_made_of(enlarging):
    small = blocks(8, seed=10_000)[1].numpy()
    made = enlarging.predict({"label": np.zeros(8, int), "image": small}, {"steps": 10})["image"].astype(float)
    again = made.reshape(8, 4, 2, 4, 2, 1).mean((2, 4))
    distance = np.abs(again[:, None] - small[None]).mean((2, 3, 4))  # of every image made to every image given
    assert distance.argmin(1).tolist() == list(range(8))
    assert np.diag(distance).mean() < 0.35 * distance[~np.eye(8, dtype=bool)].mean()


def test_a_cascade_enlarges_what_its_base_makes_of_the_label(enlarging):
    asked = {"label": np.array([0, 2]), "image": np.zeros((2, 4, 4, 1), np.uint8)}
    found = enlarging.predict(asked, {"steps": 3, "from_base": True, "guidance_scale": 2.0, "seed": 1})["image"]
    small = enlarging.base.sample({"label": asked["label"]}, steps=3, guidance_scale=2.0, seed=1)
    np.testing.assert_array_equal(found, enlarging.predict(asked | {"image": small}, {"steps": 3, "seed": 1})["image"])
    with pytest.raises(ValueError, match="never learnt to do without"):
        enlarging.predict(asked, {"guidance_scale": 2.0})


def test_links_that_do_not_fit_are_refused_when_the_model_is_loaded(enlarging, tmp_path):
    shutil.copytree(enlarging.folder, tmp_path / "bad")
    shutil.rmtree(tmp_path / "bad/linked/base")
    export(build(LABELLED), tmp_path / "bad/linked/base")
    with pytest.raises(
        ValueError, match=r"linked base: it makes images of \(side, channels\) \(8, 1\), this model enlarges \(4, 1\)"
    ):
        load_served(tmp_path / "bad")


def test_a_served_low_resolution_image_has_the_network_s_size_and_channels(enlarging):
    with pytest.raises(ValueError, match=r"image: the shape must be \[N, 4, 4, 1\], found \[1, 4, 4, 3\]"):
        enlarging.predict({"label": np.zeros(1, int), "image": np.zeros((1, 4, 4, 3), np.uint8)})
    with pytest.raises(ValueError, match=r"of as many images: found \{'label': 1, 'image': 2\}"):
        enlarging.predict({"label": np.zeros(1, int), "image": np.zeros((2, 4, 4, 1), np.uint8)})


# ------------------------------------------------------------------------------------------------ the report


# A classifier that goes by brightness; its features are the image's quarters. Its classes stand in another order.
JUDGE = """
import numpy as np

class Served:
    def __init__(self, folder):
        self.facts = {"classes": ["light", "dark", "grey"], "image_size": 8, "channels": 1}

    def scores(self, image):
        image = image.astype(float)
        quarters = image.reshape(len(image), 2, 4, 2, 4).mean((2, 4)).reshape(len(image), 4)
        return {"logits": -np.abs(quarters.mean(1)[:, None] - [200, 20, 110]), "features": quarters / 255}
"""


def test_the_report_of_a_conditional_run(served, tmp_path):
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "served.py").write_text(JUDGE)
    asked = {"guidance_scales": [0.0, 1.0, 3.0], "samplers": [{"sampler": "ddim", "steps": 3}, {"sampler": "heun", "steps": 2}]}
    split = Split(FACTS, [batch(12), batch(6)])
    report = evaluate(served, {"main": split}, settings(LABELLED, asked), {"classifier": Artifact(tmp_path / "judge", "")})
    assert report.items["bits_per_dim"].mean() == pytest.approx(report.metrics["bits_per_dim"].value)
    assert report.items["bits_per_dim"].shape == report.groups.shape == (18,)
    assert [row["guidance_scale"] for row in report.tables["guidance"]] == [0.0, 1.0, 3.0]
    assert [row["evaluations"] for row in report.tables["guidance"]] == [3, 3, 6]
    assert [row["evaluations"] for row in report.tables["samplers"]] == [3, 3]
    for name, better in (("conditional_accuracy_judge", "max"), ("diversity_judge", "max"), ("frechet_distance_judge", "min")):
        assert report.metrics[name].better == better
        assert report.tables["guidance"][1][name] == report.metrics[name].value
    assert report.pictures["samples"].shape == (2 * 9 * 6, 3 * 9 * 6, 3)
    assert report.pictures["guidance"].ndim == 3
    assert report.pictures["samples_heun_2"].dtype == np.uint8


def test_inception_s_features_are_used_where_its_weights_are_linked(served, tmp_path, monkeypatch):
    loaded = {}

    class Brightness(torch.nn.Module):
        """Stands for the network of 24 million parameters: its features are two rows' brightness."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def load_published(self, state):
            loaded.update(state)

        def forward(self, image):
            return None, image.mean(1)[:, :2].mean(-1)

    monkeypatch.setattr("components.networks.inception.InceptionV3", Brightness)
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "published.pth")
    links = {"inception": Artifact(tmp_path / "published.pth", "")}
    asked = {"bound_draws": 0, "samples": 12}
    report = evaluate(served, {"main": Split(FACTS, [batch(12)])}, settings(LABELLED, asked), links)
    assert list(loaded) == ["fc.bias"]
    assert report.metrics["frechet_distance_inception"].better == "min"
    assert report.metrics["recall_inception"].value >= 0


def test_a_classifier_of_other_images_judges_none(served, tmp_path):
    (tmp_path / "served.py").write_text(JUDGE.replace('"channels": 1', '"channels": 3'))
    with pytest.raises(ValueError, match=r"link classifier: it sees images of .*\(8, 3\), this model makes \(8, 1\)"):
        evaluate(
            served,
            {"main": Split(FACTS, [batch(6)])},
            settings(LABELLED, {"bound_draws": 0}),
            {"classifier": Artifact(tmp_path, "")},
        )


def test_the_report_of_an_enlarging_run(enlarging):
    report = evaluate(enlarging, {"main": Split(FACTS, [batch(12)])}, settings(LOW, {"bound_draws": 0}), {})
    assert {"psnr", "psnr_bicubic", "psnr_made_small_again"} == set(report.metrics)
    assert report.metrics["psnr_bicubic"].value > 20
    assert report.pictures["enlarged"].shape == (8 * 9 * 6, 4 * 9 * 6, 3)


# ------------------------------------------------------------------------------------------------ before any work


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"noise": {"schedule": "vdm_learned", "num_steps": None}}, "vdm_learned is learnt from the bound"),
        ({"noise": {"schedule": "linear", "num_steps": 5}}, "at least 21"),
        ({"conditions": {"label_dropout": 0.1}}, "label_dropout without a condition"),
        ({"conditions": {"text": TEXT | {"template": "a letter"}}}, "{label} is expected in it, once"),
        ({"target": "score"}, "train.target"),
        ({"betas": [0.9, 1.0]}, "betas"),
        (
            {"conditions": {"label": True, "dropout": 0.1}},
            "dropout: renamed; it is called 'label_dropout' now",
        ),
        ({"min_snr_clip": 5.0}, "train.min_snr_clip: renamed; it is called 'min_snr_gamma' now"),
        ({"evaluate": {"gamma": 2.0}}, "evaluate.gamma: renamed; it is called 'guidance_scale' now"),
        ({"evaluate": {"sweep": [1.0]}}, "evaluate.sweep: renamed; it is called 'guidance_scales' now"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(change, told):
    with pytest.raises(SettingsError, match=told):
        settings(**change)


LINEAR = {"schedule": "linear", "num_steps": 50}


def check(*arguments):
    """What is checked of a run before any work."""
    Diffusion.check(*arguments)
    evaluation.check(*arguments)


@pytest.mark.parametrize(
    ("conditions", "evaluate", "train", "linked", "told"),
    [
        ({}, {"guidance_scale": 2.0}, {}, {}, "evaluate.guidance_scale, evaluate.guidance_scales: 2.0 guides nothing"),
        (
            {"label": True},
            {"guidance_scales": [1.0, 2.0]},
            {},
            {},
            "2.0 needs an unconditional model: train.conditions.label_dropout",
        ),
        ({}, {"steps": 51}, {"noise": LINEAR}, {}, "evaluate.steps: steps: 51 is not allowed: 1 to the schedule's 50"),
        ({}, {"samplers": [{"sampler": "ddim", "steps": 99}]}, {"noise": LINEAR}, {}, "evaluate.samplers.0: steps: 99"),
        ({}, {"samplers": [{"sampler": "heun", "steps": 9, "eta": 1.0}]}, {}, {}, "eta: 1.0 is of the sampler ddim"),
        (LABELLED, {"guidance_scales": [1.0]}, {}, {}, "need a link classifier at stage evaluate"),
        (LABELLED, {"guidance": "classifier"}, {}, {}, "evaluate.guidance: classifier needs a link classifier at stage export"),
        ({"low_resolution": {"factor": 3}}, {}, {}, {}, "factor: 3 is not allowed: it does not divide the view's 8 pixels"),
        ({}, {}, {"model": {"name": "resnet18"}}, {}, "model.name: 'resnet18' predicts no noise; allowed: unet"),
        (
            LABELLED,
            {},
            {},
            {"export": {"classifier": "plain"}},
            "a classification run, which is no noise-aware classifier",
        ),
        (LABELLED, {}, {"noise": LINEAR}, {"export": {"classifier": "noisy"}}, "whose noise is cosine with num_steps None"),
        (
            {"text": TEXT},
            {},
            {},
            {"export": {"classifier": "noisy"}},
            "guides to a label, and this run's images are asked",
        ),
        (LABELLED, {}, {}, {"export": {"base": "diffusion"}}, "but this run enlarges nothing"),
        ({"low_resolution": {"factor": 2}}, {}, {}, {"export": {"base": "diffusion"}}, "which is conditioned on label"),
        (LOW, {}, {}, {"export": {"base": "plain"}}, "'plain', a classification run; a diffusion run is expected"),
        (LABELLED, {}, {}, {"evaluate": {"classifier": "diffusion"}}, "'diffusion', a diffusion run, which is no classifier"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(conditions, evaluate, train, linked, told):
    runs = {
        "plain": SimpleNamespace(name="plain", recipe="classification"),
        "noisy": replace(noisy_settings(), name="noisy"),
        "diffusion": replace(settings(LABELLED), name="diffusion"),
    }
    behind = {stage: {role: runs[name] for role, name in roles.items()} for stage, roles in linked.items()}
    with pytest.raises(ValueError, match=told):
        check(settings(conditions, evaluate, **train), SimpleNamespace(image_size=8), behind)


def test_what_fits_is_let_through():
    learned = settings(LABELLED, noise={"schedule": "vdm_learned", "num_steps": None}, weighting="vlb")
    fixed = replace(noisy_settings(noise={"schedule": "vdm_fixed", "num_steps": None}), name="noisy")
    check(learned, SimpleNamespace(image_size=8), {"export": {"classifier": fixed}, "evaluate": {}, "train": {}})
    asked = {"guidance_scales": [0.0, 2.0], "guidance_scale": 2.0}
    judged = {"evaluate": {"classifier": SimpleNamespace(name="j", recipe="classification")}}
    check(settings(LABELLED, asked), SimpleNamespace(image_size=8), judged)
    with pytest.raises(ValueError, match="'v' has no classes to be conditioned on"):
        build({"label": True}, facts=replace(FACTS, classes={}))
