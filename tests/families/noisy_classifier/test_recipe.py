"""The classifier of noised images: what it learns, what is served, and the network that guides."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.core.batch import Split, ViewFacts, to_pixels, to_unit_range
from components.core.config.strict import NoSettings
from components.core.settings import RunSettings, parse_model
from components.families.noisy_classifier.evaluation import Settings, evaluate
from components.families.noisy_classifier.recipe import NoisyClassifier, TrainSettings
from components.serving.loading import load_served
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.train.settings import LoopSettings

SIZE = 8
FACTS = ViewFacts("v", SIZE, 1, {"label": ("dark", "grey", "light")}, (0.0,), (1.0,), {"train": 9}, "")
UNET = {"name": "unet_classifier", "width": 8, "multipliers": [1], "blocks": 1, "groups": 4}


def settings(**train):
    class Train(TrainSettings, LoopSettings):
        pass

    noise = {"schedule": "cosine", "num_steps": None}
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": 12, "learning_rate": 5e-3, "noise": noise}
    return RunSettings(
        name="test",
        recipe="noisy_classifier",
        view="v",
        model=parse_model(UNET, "model"),
        train=Train(**block | train),
        export=NoSettings(),
        evaluate=Settings(levels=5),
    )


def batch(count=12):
    label = torch.arange(count) % 3
    noise = torch.randint(0, 40, (count, SIZE, SIZE, 1), generator=torch.Generator().manual_seed(0))
    pixels = (100 * label.view(-1, 1, 1, 1) + noise).to(torch.uint8)
    return {"image": to_unit_range(pixels), "label": label}


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    recipe = NoisyClassifier.build(settings(), {"main": FACTS}, {})
    curve = [recipe.training_step({"train": batch()}, step)["loss"].item() for step in range(60)]
    return recipe.eval(), curve


@pytest.fixture(scope="module")
def served(trained, runtime, tmp_path_factory):
    folder, exportable = tmp_path_factory.mktemp("export"), trained[0].exportable()
    write_graphs(exportable, [batch(2), batch(1), batch(7)], folder, threads=1)
    write_rest(exportable, batch(2), folder)
    write_code("noisy_classifier", folder)
    return load_served(folder)


def test_it_learns_at_all_levels_of_noise(trained):
    curve = trained[1]
    assert curve[0] == pytest.approx(np.log(3), rel=0.3)
    assert np.mean(curve[-10:]) < 0.6 * curve[0]
    torch.manual_seed(0)
    with torch.no_grad():
        surprise = trained[0].validate({"train": batch(48)})["negative_log_likelihood"]
    assert surprise.mean().item() == pytest.approx(np.mean(curve[-10:]), rel=0.4)
    assert surprise[-12:].mean() > 2 * surprise[:12].mean(), "from little noise to much"


def test_the_report_falls_with_the_noise_and_its_items_are_the_clean_images(served):
    report = evaluate(served, {"main": Split(FACTS, [batch(12), batch(9)])}, settings(), {})
    rows = report.tables["noise_levels"]
    assert [row["time"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]
    assert rows[0]["log_snr"] > rows[-1]["log_snr"]
    assert rows[0]["accuracy"] == 1.0 == report.metrics["accuracy"].value
    assert rows[-1]["accuracy"] < 0.7
    assert report.metrics["accuracy_over_time"].value == pytest.approx(np.mean([row["accuracy"] for row in rows]))
    assert report.items["accuracy"].shape == report.groups.shape == (21,)


def test_what_is_served_is_the_network_without_noise(served, trained):
    pixels = to_pixels(batch()["image"])
    found = served.predict({"image": pixels})
    assert found["label"].tolist() == batch()["label"].tolist()
    assert found["class_name"][:3].tolist() == ["dark", "grey", "light"]
    scores = served.scores(pixels)
    earliest = trained[0].schedule.time_input(torch.tensor(trained[0].schedule.start))
    with torch.no_grad():
        logits = served.network(batch()["image"], earliest.float().expand(12))
    np.testing.assert_allclose(scores["logits"], logits, atol=1e-4)
    assert scores["features"].shape == (12, 8)
    assert served.scores(pixels[:0])["logits"].shape == (0, 3)


@pytest.mark.parametrize("t", [0.0, 0.6, 1.0])
def test_noised_images_are_those_of_the_schedule_and_judged_at_its_time(served, trained, t):
    schedule, image = trained[0].schedule, batch()["image"]
    later = torch.tensor(max(t, schedule.start), dtype=torch.float64)
    alpha = torch.sigmoid(schedule.log_snr(later)).float()
    eps = torch.from_numpy(np.random.default_rng(5).standard_normal(image.shape, dtype=np.float32))
    with torch.no_grad():
        wanted = served.network(alpha.sqrt() * image + (1 - alpha).sqrt() * eps, schedule.time_input(later).float().expand(12))
    np.testing.assert_allclose(served.noisy_scores(to_pixels(image), t, 5)["logits"], wanted, rtol=1e-3, atol=1e-3)


def test_probabilities_of_large_logits_are_finite(served):
    found = served.outputs_of({"logits": np.array([[1000.0, 1000.0, 0.0], [0.0, 1.0, -900.0]], np.float32)})
    np.testing.assert_allclose(found["probability"], [0.5, 1 / (1 + np.exp(-1))], rtol=1e-6)


def test_the_served_network_s_gradient_is_that_of_finite_differences(served):
    x, time, label = batch(3)["image"], torch.full((3,), 300.0), torch.tensor([2, 0, 1])

    def log_probability(x):
        return -F.cross_entropy(served.network(x, time), label, reduction="none")

    x.requires_grad_(True)
    gradient = torch.autograd.grad(log_probability(x).sum(), x)[0]
    direction = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    step = 0.01
    with torch.no_grad():
        slope = (log_probability(x + step * direction) - log_probability(x - step * direction)) / (2 * step)
    torch.testing.assert_close(slope, (gradient * direction).sum((1, 2, 3)), rtol=0.03, atol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "params", "told"),
    [
        ({"image": np.zeros((1, 8, 8, 3), np.uint8)}, {}, r"the shape must be \[N, 8, 8, 1\], found \[1, 8, 8, 3\]"),
        ({"picture": 1}, {}, "the one key 'image', found picture"),
        ({"image": np.zeros((1, 8, 8, 1), np.uint8)}, {"gamma": 1}, "this model takes none, found gamma"),
    ],
)
def test_what_cannot_be_served_is_refused(served, inputs, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs, params)


def test_adamw_has_guided_diffusion_s_constants(trained):
    """classifier_train.py: torch's AdamW, --weight_decay 0.05."""
    group = trained[0].optimizers["network"].param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.05)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        NoisyClassifier.build(settings(), {"main": ViewFacts("v", 8, 1, {}, (0.0,), (1.0,), {}, "")}, {})
    with pytest.raises(ValueError, match="at least 21"):
        settings(noise={"schedule": "linear", "num_steps": 5})
    other = RunSettings("r", "noisy_classifier", "v", parse_model({"name": "resnet18"}, "model"), None, None, None)
    with pytest.raises(ValueError, match=r"model\.name: 'resnet18' is not told the time; allowed: unet_classifier"):
        NoisyClassifier.check(other, None, {})
