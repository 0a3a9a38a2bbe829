"""StarGAN of several attributes an image: its loss and targets, what is served, flips, and how they are judged."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.adversarial.losses import attribute_loss
from components.core.artifact import Artifact
from components.core.batch import Split, ViewFacts, check, to_pixels, to_unit_range
from components.core.config.strict import parse
from components.core.settings import RunSettings, parse_model
from components.families.stargan import evaluation, flips
from components.families.stargan.recipe import StarGANRecipe
from components.families.stargan.settings import ExportSettings, TrainSettings
from components.serving.loading import load_served
from components.stages.export.served_code import write_code
from components.stages.export.stage import write_graphs, write_rest
from components.stages.train.settings import LoopSettings
from components.translation.judges import Settings

SIZE, BATCH = 16, 8
NAMES = ("left", "right", "top")
FACTS = ViewFacts("v", SIZE, 1, {"labels": NAMES}, (0.0,), (1.0,), {"train": 9}, "")
DOMAINS = replace(FACTS, name="w", classes={"domain": ("thin", "thick")})
MODEL = {"name": "stargan", "width": 4, "blocks": 1, "discriminator_width": 4, "depth": 2}


class Train(TrainSettings, LoopSettings):
    pass


def build(views=None, exclusive=(), **train):
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 10, "batch_size": BATCH, "learning_rate": 1e-3}
    settings = RunSettings(
        name="test",
        recipe="stargan",
        view="v",
        model=parse_model(MODEL, "model"),
        train=parse(Train, block | {"critic_steps": 2} | train, "train"),
        export=ExportSettings(exclusive=exclusive),
        evaluate=Settings(),
    )
    torch.manual_seed(0)
    return StarGANRecipe.build(settings, views or {"main": FACTS}, {})


def painted(labels):
    """uint8 [n, SIZE, SIZE, 1]: a bright area per attribute, on grey."""
    images = np.full((len(labels), SIZE, SIZE, 1), 60, np.uint8)
    for image, (left, right, top) in zip(images, labels > 0.5, strict=True):
        image[8:, :8] += np.uint8(90 * left)
        image[8:, 8:] += np.uint8(90 * right)
        image[:8] += np.uint8(90 * top)
    return images


def batch(count=BATCH, step=0):
    labels = torch.randint(0, 2, (count, 3), generator=torch.Generator().manual_seed(step)).float()
    return {"image": to_unit_range(torch.from_numpy(painted(labels.numpy()))), "labels": labels}


# ------------------------------------------------------------------------------------------------ training


def test_the_loss_is_the_log_likelihood_of_all_attributes():
    logits, truth = torch.randn(5, 3, dtype=torch.float64), torch.tensor([[0, 1, 1]] * 5).float()
    chance = 1 / (1 + np.exp(-logits.numpy()))
    likely = np.log(np.where(truth.numpy() > 0.5, chance, 1 - chance)).sum(1)
    assert attribute_loss(logits, truth).item() == pytest.approx(-likely.mean(), abs=1e-12)


def test_the_losses_use_it_on_real_images_and_on_translations():
    recipe = build(classification=2.0).double()
    image, labels = batch()["image"].double(), batch()["labels"]
    target = labels.flip(0)
    with torch.no_grad():
        fake = recipe.generator(image, target.double())
        real_logits, fake_logits = (recipe.discriminator(x)[1] for x in (image, fake))
    found = recipe.discriminator_losses(image, labels, fake, 0, step=5)
    assert found["classification"].item() == pytest.approx(2 * attribute_loss(real_logits, labels).item(), abs=1e-12)
    found = recipe.generator_losses(image, labels, fake, target, 0)
    assert found["fake_classification"].item() == pytest.approx(2 * attribute_loss(fake_logits, target).item(), abs=1e-12)
    with torch.no_grad():
        back = recipe.generator(fake, labels.double())
    assert found["reconstruction"].item() == pytest.approx(10 * (image - back).abs().mean().item(), abs=1e-12)


def test_targets_are_the_batch_s_attribute_vectors_in_another_order():
    recipe, labels = build(), torch.arange(60.0).view(20, 3)
    target = recipe.shuffled(labels, 0, 7)
    assert not torch.equal(target, labels)
    assert sorted(target.tolist()) == labels.tolist()
    (stream,) = recipe.streams().values()
    assert (stream.sampler, stream.batch_size) == ("shuffle", BATCH)
    check(batch(), stream.columns)


def test_it_learns_to_flip_one_attribute_and_to_leave_the_others():
    recipe = build(learning_rate=4e-3, reconstruction=1.0)
    for step in range(160):
        recipe.training_step({"train": batch(12, step)}, step)
    found = batch(24, step=1000)
    labels = found["labels"].clone()
    labels[:, 0] = 1 - labels[:, 0]
    with torch.no_grad():
        made = to_pixels(recipe.generator(found["image"], labels))[..., 0].astype(float)
    left, right = made[:, 8:, :8].mean((1, 2)), made[:, 8:, 8:].mean((1, 2))
    for area, column in ((left, 0), (right, 1)):
        seen = labels[:, column].numpy() > 0.5
        assert area[seen].mean() - area[~seen].mean() > 25, "in the images it is 90"


def test_a_second_data_set_of_domains_is_trained_beside_the_attributes():
    """As in the paper: CelebA's attributes and RaFD's expressions, with a mask."""
    recipe = build({"main": FACTS, "second": DOMAINS})
    domain = torch.arange(BATCH) % 2
    second = {"image": batch(step=1)["image"], "domain": domain}
    terms = recipe.training_step({"train": batch(), "second": second}, 1)
    assert {"fake_classification", "second_fake_classification"} <= set(terms)
    assert recipe.label(torch.tensor([[1.0, 0.0, 1.0]]), 0).tolist() == [[1, 0, 1, 0, 0, 1, 0]]
    assert recipe.label(torch.tensor([1]), 1).tolist() == [[0, 0, 0, 0, 1, 0, 1]]
    assert recipe.class_column == ""
    assert build().class_column == "labels"


# ------------------------------------------------------------------------------------------------ served


def export(recipe, folder):
    exportable = recipe.eval().exportable()
    write_graphs(exportable, [batch(2), batch(1), batch(7)], folder, threads=1)
    write_rest(exportable, batch(2), folder)
    write_code("stargan", folder)
    return load_served(folder)


@pytest.fixture(scope="module")
def both():
    return build({"main": FACTS, "second": DOMAINS}, exclusive=(("left", "right"),))


@pytest.fixture(scope="module")
def served(both, runtime, tmp_path_factory):
    return export(both, tmp_path_factory.mktemp("export"))


def test_what_is_served_is_the_network_s(served, both):
    image, labels = batch(5)["image"], batch(5)["labels"]
    with torch.no_grad():
        wanted = to_pixels(both.generator(image, both.label(labels, 0)).clamp(-1, 1))
        other = to_pixels(both.generator(image, both.label(torch.ones(5, dtype=torch.int64), 1)).clamp(-1, 1))
        chance = both.discriminator(image)[1].sigmoid()
    inputs = {"image": to_pixels(image), "labels": labels.numpy()}
    assert np.abs(served.predict(inputs)["image"].astype(int) - wanted).max() <= 1
    thick = {"image": inputs["image"], "labels": np.tile([0, 1], (5, 1))}
    assert np.abs(served.predict(thick, {"dataset": 1})["image"].astype(int) - other).max() <= 1
    assert np.abs(served.attributes(inputs["image"]) - chance.numpy()).max() < 1e-4
    example = dict(np.load(served.folder / "example.npz"))
    assert np.abs(example["labels"] - batch(2)["labels"].numpy()).tolist() == [[1, 0, 0]] * 2
    assert served.predict(example)["image"].shape == (2, SIZE, SIZE, 1)
    assert [entry["name"] for entry in served.signature["inputs"]] == ["image", "labels"]


def test_a_flip_is_of_one_attribute_and_sets_one_of_an_exclusive_group(served):
    labels = np.array([[1, 0, 0], [0, 1, 1]], np.float32)
    assert served.flipped(labels, "top").tolist() == [[1, 0, 1], [0, 1, 0]]
    assert served.flipped(labels, "left").tolist() == [[1, 0, 0], [1, 0, 1]]
    assert served.flipped(np.array([[1.0, 0.0]]), "thick", 1).tolist() == [[0, 1]]
    image = to_pixels(batch(2)["image"])
    by_name = served.predict({"image": image, "labels": labels}, {"flip": "top"})["image"]
    np.testing.assert_array_equal(by_name, served.translate_to(image, served.flipped(labels, "top")))


def test_into_an_attribute_all_others_stay_as_the_classifier_reads_them(served, monkeypatch):
    """Attributes 0 to 2 of the first data set, of which left and right exclude each other; domains 3 and 4 of the second."""
    seen = np.array([[0.9, 0.1, 0.8, 0.7, 0.2], [0.2, 0.9, 0.1, 0.7, 0.2], *[[0.9, 0.1, 0.8, 0.7, 0.6]] * 2])
    monkeypatch.setattr(served, "attributes", lambda image: seen[: len(image)], raising=False)
    vectors = served.with_attribute(np.zeros((4, SIZE, SIZE, 1), np.uint8), np.array([1, 2, 2, 4]))
    assert vectors.tolist() == [[0, 1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0, 1]]
    image = to_pixels(batch(2)["image"])
    wanted = served.translate_to(image, np.array([[0, 1, 1], [0, 1, 0]], np.float32))
    np.testing.assert_array_equal(served.translate(image, np.array([1, 1])), wanted)


IMAGES = np.zeros((2, SIZE, SIZE, 1), np.uint8)


@pytest.mark.parametrize(
    ("inputs", "params", "told"),
    [
        ({"image": IMAGES, "domain": np.zeros(2, int)}, {}, "a mapping with image and labels, found image, domain"),
        ({"image": IMAGES, "labels": np.zeros((2, 2))}, {}, r"labels: 2 rows of 3 numbers are expected \(left, right, top\)"),
        ({"image": IMAGES, "labels": np.full((2, 3), np.nan)}, {}, "labels: numbers from 0"),
        ({"image": IMAGES, "labels": np.zeros((2, 2))}, {"dataset": 1}, "exactly one 1 a row is expected, of thin, thick"),
        ({"image": IMAGES, "labels": np.zeros((2, 3))}, {"dataset": 2}, "dataset: 2 is not allowed: from 0 to 1"),
        (
            {"image": IMAGES, "labels": np.zeros((2, 3))},
            {"flip": "nose"},
            "flip: 'nose' is not known; allowed: left, right",
        ),
        ({"image": IMAGES, "labels": np.zeros((2, 3))}, {"style": 1}, "params: style is not known; allowed: flip, dataset"),
    ],
)
def test_what_cannot_be_served_is_refused(served, inputs, params, told):
    with pytest.raises(ValueError, match=told):
        served.predict(inputs, params)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ((("left", "nose"),), "export.exclusive: nose is not allowed: the attributes are left, right, top"),
        ((("left", "top"), ("top", "right")), "export.exclusive: top stands in it twice"),
    ],
)
def test_groups_of_unknown_attributes_are_refused(groups, told):
    with pytest.raises(ValueError, match=told):
        build(exclusive=groups).exportable()


# ------------------------------------------------------------------------------------------------ how flips are judged


class Painter:
    """A served model that paints any attributes exactly; ``lazy``: it returns the images as they are."""

    def __init__(self, lazy=False):
        self.lazy = lazy
        self.facts = {"image_size": SIZE, "channels": 1, "domains": list(NAMES), "num_labels": [3], "several": [True]}
        self.facts["exclusive"] = []

    def translate_to(self, image, labels, dataset=0):
        return image if self.lazy else painted(labels)

    def flipped(self, labels, name, dataset=0):
        return flips_of(labels, NAMES.index(name))

    def attributes(self, image):
        areas = (image[:, 8:, :8], image[:, 8:, 8:], image[:, :8])
        return np.stack([area.mean((1, 2, 3)) > 105 for area in areas], axis=1).astype(float)


def flips_of(labels, column):
    target = labels.copy()
    target[:, column] = 1 - target[:, column]
    return target


def judged(served, links=None, **block):
    split = Split(FACTS, [{"image": torch.from_numpy(painted(batch(20)["labels"].numpy())), "labels": batch(20)["labels"]}])
    return evaluation.evaluate(served, {"main": split}, SimpleNamespace(evaluate=Settings(**block)), links or {})


def test_figures_of_a_perfect_and_of_an_idle_translator():
    perfect, idle = judged(Painter()), judged(Painter(lazy=True))
    values = [{name: metric.value for name, metric in report.metrics.items()} for report in (perfect, idle)]
    assert values[0] == {"read_own": 1, "flipped_own": 1, "others_kept_own": 1, "cycle_error": 0, "attributes_counted": 3}
    assert values[1] == {"read_own": 1, "flipped_own": 0, "others_kept_own": 1, "cycle_error": 0, "attributes_counted": 3}
    assert [row["attribute"] for row in perfect.tables["attributes"]] == list(NAMES)
    assert perfect.pictures["flips"].shape == (8 * 17 * 3, 4 * 17 * 3, 3)


@pytest.mark.usefixtures("runtime")
def test_a_linked_judge_reads_instead_of_the_model_itself(tmp_path):
    export(build(), tmp_path)
    links = {"attributes": Artifact(tmp_path, "")}
    report = judged(Painter(), links, min_judge_accuracy=0.0)
    assert f"flipped_{tmp_path.name}" in report.metrics
    with pytest.raises(ValueError, match=r"evaluate\.min_judge_accuracy: .* reads no attribute of real images at 1"):
        judged(Painter(), links, min_judge_accuracy=1.0)
    painter = Painter()
    painter.facts["domains"] = ["left", "right", "nose"]
    with pytest.raises(ValueError, match="has the attributes left, right, top; the model was made for left, right, nose"):
        judged(painter)
    with pytest.raises(ValueError, match=r"link attributes: .* does not know nose"):
        flips.Reader.of(painter, links, painter.facts["domains"])


def test_a_judge_of_another_recipe_is_refused_before_any_work():
    linked = {"evaluate": {"attributes": SimpleNamespace(name="vit", recipe="classification")}}
    with pytest.raises(ValueError, match="the link attributes leads to 'vit', a classification run; a stargan run is expected"):
        evaluation.check(None, None, linked)
