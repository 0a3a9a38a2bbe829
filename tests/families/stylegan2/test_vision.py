"""Vision-aided training: who joins when, what the losses are, what is trained, and what is refused."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from families.tiny import Tiny
from workbench import run_settings, toy_params, write_params

from components.core.artifact import Artifact
from components.core.config.strict import SettingsError, parse
from components.core.settings import Workspace
from components.families.classification.recipe import Classification
from components.families.simmim.networks import Features
from components.families.stylegan2 import evaluation
from components.families.stylegan2.backbones import Backbone
from components.families.stylegan2.probe import probe_accuracy
from components.families.stylegan2.recipe import StyleGAN2Recipe
from components.families.stylegan2.settings import PublishedNetwork, VisionSettings
from components.families.stylegan2.vision import Head, VisionAid, cross_entropy
from components.networks.vit import ViT
from components.stages.assemble import build_recipe
from components.stages.code.stage import digests_of
from components.stages.train.curves import Curves
from components.stages.train.processes import digest
from components.stages.train.stage import write_outs

PAPER = {  # Kumari et al. 2022, arXiv 2112.09130, and its code
    "weight": 1.0,  # section 4.1
    "target": 0.8,  # vision_aided_loss: smoothed labels, in the generator's update too
    "warmup_images": 500_000,  # --warmup 5e5
    "images_per_backbone": 1_000_000,  # kimgs 4000,1000,1000
    "order": "probe",  # section 3.3
    "policy": ("color", "translation", "cutout"),
}


def test_defaults_are_those_of_the_paper():
    assert {name: getattr(VisionSettings(), name) for name in PAPER} == PAPER


def test_losses_are_smoothed_cross_entropies():
    logit = torch.tensor([1.0, -2.0])
    p = [1 / (1 + math.exp(-value)) for value in logit.tolist()]
    expected = sum(-0.8 * math.log(q) - 0.2 * math.log(1 - q) for q in p) / 2
    assert float(cross_entropy(logit, 0.8)) == pytest.approx(expected, rel=1e-6)
    aid = VisionAid(VisionSettings(weight=3.0), {}, 0, 4)
    assert float(aid.generator_terms({"backbone": logit})["backbone"]) == pytest.approx(3 * expected, rel=1e-6)
    terms = aid.discriminator_terms({"backbone": logit}, {"backbone": logit})
    assert float(terms["backbone"]) == pytest.approx(expected + sum(-math.log(1 - q) for q in p) / 2, rel=1e-6)


def test_backbones_join_after_the_warm_up_one_after_the_other():
    backbones = {
        role: Backbone(torch.nn.Identity(), torch.zeros(1), torch.ones(1), 8, 4) for role in ("backbone", "backbone_2")
    }
    aid = VisionAid(VisionSettings(warmup_images=40, images_per_backbone=20), backbones, 0, 10)
    assert [len(aid.members(step)) for step in range(8)] == [0, 0, 0, 0, 1, 1, 2, 2]


def test_a_linear_probe_is_measured_on_what_it_was_not_fitted_to():
    """Apart by 2 deviations along one direction: Phi(1) = 0.841 is the best that any classifier can do."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 2000, 5, generator=generator)
    real[:, 3] += 2.0
    assert probe_accuracy(real, fake) == pytest.approx(0.841, abs=0.02)
    noise = torch.randn(2, 40, 60, generator=generator)
    assert probe_accuracy(*noise) < 0.75, "fitted to 40 rows of 60 features it would know each of them"
    scaled = [100 * kind + 7 for kind in (real, fake)]
    assert probe_accuracy(*scaled) == pytest.approx(probe_accuracy(real, fake), abs=2e-3)


class Seeing(torch.nn.Module):
    """A network whose features are noise, and the mean of the image times ``eye``."""

    def __init__(self, eye):
        super().__init__()
        self.eye = eye

    def features(self, image):
        generator = torch.Generator().manual_seed(int(1000 * image.abs().sum()))
        noise = torch.randn(len(image), 3, generator=generator)
        return torch.cat([noise, self.eye * image.mean((1, 2, 3))[:, None] + 0.1 * noise[:, :1]], 1)


def bank(order, warmup_images, updates=6):
    eyes = {"backbone": 0.0, "backbone_2": 0.1, "backbone_3": 5.0}
    networks = {role: Backbone(Seeing(eye), torch.zeros(1), torch.ones(1), 8, 4) for role, eye in eyes.items()}
    settings = VisionSettings(warmup_images=warmup_images, images_per_backbone=60, probe_updates=updates, order=order)
    return VisionAid(settings, networks, 0, 10)


def train_bank(aid, steps, start=0):
    probes = {}
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(step)
        real, fake = torch.randn(2, 10, 1, 8, 8, generator=generator) * 0.3
        if found := aid.search(real + 0.5, fake, step):
            probes[step] = {role: round(float(value), 2) for role, value in found.items()}
    return probes


def test_the_backbone_that_best_tells_real_from_generated_joins_next():
    aid = bank("probe", 80)
    probes = train_bank(aid, 30)
    assert [len(aid.members(step)) for step in (7, 8, 13, 14, 19, 20)] == [0, 1, 1, 2, 2, 3]
    assert aid.members(20) == ["backbone_3", "backbone_2", "backbone"]
    assert list(probes) == [7, 13], "of the last there is no choice"
    assert max(probes[7], key=probes[7].get) == "backbone_3_probe"
    assert set(probes[13]) == {"backbone_probe", "backbone_2_probe"}
    assert probes[7]["backbone_3_probe"] == 1
    links = bank("links", 80)
    assert train_bank(links, 30) == {}
    assert links.members(20) == ["backbone", "backbone_2", "backbone_3"]
    assert "joined" not in links.state_dict()


def test_a_warm_up_shorter_than_the_probe_s_window_is_searched_by_what_was_seen():
    assert train_bank(short := bank("probe", 20), 3)[1]["backbone_3_probe"] == 1
    assert short.members(2) == ["backbone_3"]
    at_once = bank("probe", 0)
    assert at_once.members(0) == ["backbone"], "nothing was seen: the first link"
    train_bank(at_once, 6)
    assert at_once.members(6) == ["backbone", "backbone_3"]


def test_the_search_goes_on_after_a_resume():
    whole, part = bank("probe", 80), bank("probe", 80)
    expected = train_bank(whole, 15)
    train_bank(part, 5)
    resumed = bank("probe", 80)
    resumed.load_state_dict(part.state_dict())
    assert train_bank(resumed, 15, start=5) == expected
    assert digest(resumed.state_dict()) != digest(part.state_dict())
    assert torch.equal(resumed.joined, whole.joined)


def test_a_head_does_not_depend_on_the_scale_of_its_features_and_sees_the_class():
    torch.manual_seed(0)
    head, features = Head(6, 3).eval(), torch.randn(2, 6)
    label = torch.tensor([0, 1])
    torch.testing.assert_close(head(features, label), head(7 * features, label))
    assert not torch.allclose(head(features, label), head(features, label.flip(0)))


@pytest.fixture
def aided(tmp_path):
    """The tiny run, and a link to the weights of a classifier whose statistics and weights are nobody else's."""
    tiny = Tiny("stylegan2", tmp_path)
    facts = tiny.views["main"].facts
    settings = replace(run_settings("resnet18", {"width": 4}), name="judge")
    torch.manual_seed(3)
    judge = Classification.build(settings, {"main": facts}, {})
    torch.nn.init.normal_(judge.classifier.network.head.weight)
    write_outs(Workspace(tmp_path), settings, facts, recipe=judge, curves=Curves(), resolved={})
    return tiny, judge.eval(), {"backbone": Artifact(tmp_path / "outputs" / "train" / "judge", "")}


VISION = {"warmup_images": 8, "weight": 5.0, "policy": []}  # the backbone joins at the second update


def train(aided, steps, checkpoints=None, **vision):
    tiny, _, links = aided
    settings = tiny.settings(vision=VISION | vision, steps=steps, checkpoint_every=1)
    return tiny.train(build_recipe(settings, tiny.views, links), steps=steps, checkpoints=checkpoints, vision=VISION | vision,
                      log_every=1, checkpoint_every=1)  # fmt: skip


def test_a_backbone_s_features_are_those_of_its_run_and_gradients_reach_the_image(aided):
    _, judge, links = aided
    backbone = Backbone.read("backbone", links["backbone"], 1)
    image = (torch.rand(3, 1, 8, 8) * 2 - 1).requires_grad_()
    torch.testing.assert_close(backbone(image), judge.classifier(image)[1])
    backbone(image).sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())


def test_training_changes_heads_and_generator_but_no_backbone_and_resumes_to_the_same_bits(aided, tmp_path):
    recipe, curves = train(aided, 3)
    before = Backbone.read("backbone", aided[2]["backbone"], 1).network.state_dict()
    assert digest(recipe.vision.backbones["backbone"].network.state_dict()) == digest(before)
    assert not [name for name in recipe.state_dict() if "backbones" in name]
    header, *rows = [line.split(",") for line in curves.decode().splitlines()]
    column = header.index("generator_backbone")
    assert [bool(row[column]) for row in rows] == [False, True, True]
    train(aided, 2, checkpoints=tmp_path / "checkpoints")
    resumed, _ = train(aided, 3, checkpoints=tmp_path / "checkpoints")
    assert digest(resumed.state_dict()) == digest(recipe.state_dict())
    other, _ = train(aided, 3, weight=0.5)
    assert digest(other.generator.state_dict()) != digest(recipe.generator.state_dict())


def test_what_follows_the_training_needs_no_backbone(aided):
    recipe, _ = train(aided, 2)
    tiny = aided[0]
    alone = build_recipe(tiny.settings(vision=VISION), tiny.views, {})
    alone.load_state_dict(recipe.state_dict())
    assert digest(alone.generator.state_dict()) == digest(recipe.generator.state_dict())
    with pytest.raises(RuntimeError, match="generator"):
        alone.load_state_dict({name: value for name, value in recipe.state_dict().items() if "conv1" not in name})


def test_a_link_to_something_else_is_refused(aided, tmp_path):
    links = aided[2]
    with pytest.raises(ValueError, match="link backbone: it takes 1 channel"):
        Backbone.read("backbone", links["backbone"], 3)
    torch.save({"state": {}, "settings": {"view": {}, "model": {}}}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"is not the weights\.pt of a classification run"):
        Backbone.read("backbone", Artifact(tmp_path, ""), 1)


@pytest.mark.parametrize("family", ["clip", "simmim"])
def test_features_of_other_runs_are_those_of_their_encoders(tmp_path, family):
    tiny = Tiny(family, tmp_path)
    torch.manual_seed(5)
    recipe = build_recipe(tiny.settings(), tiny.views, {}).eval()
    settings, facts = replace(tiny.settings(), name="eye"), tiny.views["main"].facts
    write_outs(Workspace(tmp_path), settings, facts, recipe=recipe, curves=Curves(), resolved={})
    backbone = Backbone.read("backbone", Artifact(tmp_path / "outputs" / "train" / "eye", ""), 1)
    image = (torch.rand(3, 1, 16, 16) * 2 - 1).requires_grad_()
    mean, std = (torch.tensor(value).view(1, 1, 1, 1) for value in (facts.mean, facts.std))
    expected = recipe.clip.visual.features((image - mean) / std) if family == "clip" else Features(recipe.model)(image)
    torch.testing.assert_close(backbone(image), expected)
    assert backbone.width == expected.shape[1] > 1
    backbone(image)[:, 0].sum().backward()
    assert image.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="link backbone: it takes 1 channel"):
        Backbone.read("backbone", Artifact(tmp_path / "outputs" / "train" / "eye", ""), 3)


PUBLISHED = {"model": {"name": "vit", "patch": 4, "width": 8, "depth": 1, "heads": 2}, "image_size": 16, "standardise": "half"}


def test_a_published_file_is_read_for_the_channels_of_the_images(tmp_path):
    """An RGB file of 1,000 classes for grey images: the same features as of the grey image in RGB."""
    torch.manual_seed(5)
    options = {name: value for name, value in PUBLISHED["model"].items() if name != "name"}
    network = ViT(image_size=16, channels=3, num_classes=1000, **options).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "vit.pth")
    link = Artifact(tmp_path / "vit.pth", "")
    backbone = Backbone.read("backbone", link, 1, PublishedNetwork(**PUBLISHED))
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    torch.testing.assert_close(backbone(image), network.features(image.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4)
    other = PublishedNetwork(**PUBLISHED | {"model": PUBLISHED["model"] | {"width": 16}})
    with pytest.raises(ValueError, match=r"train\.vision\.published\.backbone .*vit\.pth"):
        Backbone.read("backbone", link, 1, other)
    with pytest.raises(ValueError, match=r"published\.backbone .*imagenet is of RGB"):
        Backbone.read("backbone", link, 1, PublishedNetwork(**PUBLISHED | {"standardise": "imagenet"}))


def test_a_published_network_without_its_link_is_no_silent_training_without_it(aided):
    tiny, _, links = aided
    settings = tiny.settings(vision=VISION | {"published": {"backbone_2": PUBLISHED}})
    with pytest.raises(ValueError, match=r"published\.backbone_2: no link"):
        build_recipe(settings, tiny.views, links)
    with pytest.raises(ValueError, match="no link at stage train brings a file"):
        build_recipe(settings, tiny.views, {}).training_step({}, 0)
    with pytest.raises(SettingsError, match="'pixelcnn' is no network of images with features"):
        parse(VisionSettings, {"published": {"backbone": PUBLISHED | {"model": {"name": "pixelcnn"}}}}, "train.vision")


def run_of(recipe, name):
    return SimpleNamespace(recipe=recipe, name=name)


@pytest.mark.parametrize(
    ("vision", "linked", "message"),
    [
        ({}, {}, "train.vision: needs a link at stage train of role backbone"),
        (None, {"train": {"backbone": run_of("classification", "a")}}, "train.vision: is missing; the link backbone"),
        (
            {},
            {"train": {"backbone": run_of("diffusion", "a")}},
            "the link backbone leads to no run of classification, clip, simmim",
        ),
        (
            {"published": {"backbone": {"model": {"name": "vit"}, "image_size": 16}}},
            {"train": {"backbone": run_of("classification", "a")}},
            "train.vision.published.backbone: the link leads to run 'a', which brings its own",
        ),
    ],
)
def test_links_and_settings_must_agree(tmp_path, vision, linked, message):
    with pytest.raises(ValueError, match=message):
        StyleGAN2Recipe.check(Tiny("stylegan2", tmp_path).settings(vision=vision), None, linked)


def test_a_run_is_not_measured_on_the_features_that_it_was_trained_with():
    judge = run_of("classification", "judge")
    linked = {"train": {"backbone": judge}, "evaluate": {"classifier": judge}}
    with pytest.raises(ValueError, match="the backbone of the training: the metric would be the loss"):
        evaluation.check(None, None, linked)
    evaluation.check(None, None, linked | {"evaluate": {"classifier": run_of("classification", "other")}})


def test_the_code_of_a_backbone_is_a_part_of_the_training_s(tmp_path):
    params = toy_params()
    run = params["runs"]["toy"]
    params["runs"]["toy"] = run | {"recipe": "stylegan2", "model": {"name": "stylegan2"}}
    params["runs"]["judge"] = run | {"recipe": "classification", "model": {"name": "pp_lcnet"}}
    params["links"] = {"aid": {"run": "toy", "stage": "train", "role": "backbone", "from": "outputs/train/judge"}}
    write_params(tmp_path, params)
    assert "components/networks/pp_lcnet.py" in digests_of(Workspace(tmp_path), "train", "toy")
    assert "components/networks/pp_lcnet.py" not in digests_of(Workspace(tmp_path), "export", "toy")
    files = {"published": {"backbone_2": {"model": {"name": "resnet"}, "image_size": 32}}}
    params["runs"]["toy"]["train"] = params["runs"]["toy"]["train"] | {"vision": files}
    write_params(tmp_path, params)
    assert "components/networks/resnets/resnet.py" in digests_of(Workspace(tmp_path), "train", "toy")
