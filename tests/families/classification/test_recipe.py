"""The classification recipe: where weights start from, what is decayed, what an input means."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from workbench import run_settings

from components.core.artifact import Artifact
from components.core.batch import Split, ViewFacts, to_unit_range
from components.core.standardise import standardisation
from components.families.classification import evaluation
from components.families.classification.optimizer import make_optimizer
from components.families.classification.recipe import Classification, TrainSettings
from components.families.classification.served import Served
from components.networks.swin.swin import Swin, SwinV2
from components.networks.vit import ViT
from components.stages.export.onnx_graph import write_graph
from components.stages.start import initialise
from components.stages.train.checkpoint import serialise

VIT = {"patch": 4, "width": 16, "depth": 1, "heads": 2}
FACTS = ViewFacts("v", 16, 3, {"label": ("a", "b", "c")}, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), {"train": 9}, "")


def build(links=None, facts=FACTS, **train):
    recipe = Classification.build(run_settings("vit", VIT, **train), {"main": facts}, {})
    recipe.notes = [line for start in initialise(recipe, links or {}) for line in start.lines()]
    return recipe


def published(size=16, classes=3, **changes):
    torch.manual_seed(7)
    state = ViT(image_size=size, channels=3, num_classes=classes, **VIT).state_dict()
    state["head.weight"].normal_()
    return state | changes


def link(tmp_path, state, name="vit.pt"):
    (tmp_path / name).write_bytes(serialise(state))
    return {"init": Artifact(tmp_path / name, "")}


def test_it_starts_from_a_published_file(tmp_path):
    state = published()
    network = build(link(tmp_path, state)).classifier.network
    torch.testing.assert_close(dict(network.state_dict()), dict(state), rtol=0, atol=0)


def test_it_starts_at_another_resolution_and_with_other_classes(tmp_path):
    state = published(size=32, classes=1000)
    recipe = build(link(tmp_path, state))
    network = recipe.classifier.network
    assert network.pos_embed.shape[1] == 17
    torch.testing.assert_close(network.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
    assert "init: head: the file has 1000 classes, this view 3: starts fresh" in recipe.notes
    assert any(note.startswith("init: pos_embed") for note in recipe.notes)


def test_a_wrong_file_says_what_is_missing_and_what_is_left_over(tmp_path):
    state = published(extra=torch.zeros(2))
    del state["norm.weight"]
    with pytest.raises(ValueError, match=r"link init \(.*vit\.pt\): .*1 missing: norm\.weight; 1 left over: extra"):
        build(link(tmp_path, state))


def test_decay_is_for_matrices_and_every_parameter_has_one_optimizer():
    recipe = build(weight_decay=0.1)
    groups = recipe.optimizers["network"].param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    every = [id(p) for group in groups for p in group["params"]]
    assert sorted(every) == sorted(id(p) for p in recipe.parameters())
    named = dict(recipe.classifier.network.named_parameters())
    assert {name for name, p in named.items() if id(p) in decayed} == {
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.proj.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "head.weight",
    }


def test_what_stands_for_swin_s_positions_is_not_decayed():
    for network in (Swin, SwinV2):
        built = network(image_size=8, channels=1, num_classes=2, patch=2, width=8, depths=(1, 1), heads=(1, 2), window=2)
        groups = make_optimizer(built, TrainSettings(weight_decay=0.1)).param_groups
        decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        layers = {name.rpartition(".")[0].rpartition(".")[2] for name, p in built.named_parameters() if id(p) in decayed}
        assert layers == {"proj", "qkv", "fc1", "fc2", "reduction", "head"}


def test_standardisation_is_of_the_view_of_half_or_of_imagenet():
    pixels = np.array([0, 128, 255]) / 255
    mean, std = standardisation("imagenet", FACTS)
    np.testing.assert_allclose((2 * pixels - 1 - mean[0]) / std[0], (pixels - 0.485) / 0.229)
    assert standardisation("half", FACTS) == ((0.0,) * 3, (1.0,) * 3)
    assert standardisation("view", FACTS) == (FACTS.mean, FACTS.std)
    with pytest.raises(ValueError, match="RGB"):
        standardisation("imagenet", replace(FACTS, channels=1))


def test_the_graph_standardises_inside():
    recipe = build().eval()
    torch.nn.init.normal_(recipe.classifier.network.head.weight)
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    by_hand = (image - torch.tensor(FACTS.mean).view(3, 1, 1)) / torch.tensor(FACTS.std).view(3, 1, 1)
    torch.testing.assert_close(recipe.classifier(image)[0], recipe.classifier.network(by_hand)[0])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_few_steps_learn_a_separable_set(optimizer):
    recipe = build(optimizer=optimizer, learning_rate=0.01)
    labels = torch.arange(12) % 3
    image = (labels.view(-1, 1, 1, 1) - 1.0).expand(12, 3, 16, 16).contiguous()
    losses = [recipe.training_step({"train": {"image": image, "label": labels}}, step)["loss"].item() for step in range(40)]
    assert losses[0] == pytest.approx(np.log(3), rel=1e-3)
    assert losses[-1] < 0.3 * losses[0]


def batch_of(count=6):
    image = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"train": {"image": image, "label": torch.arange(count) % 3}}


def test_the_target_is_smoothed_over_all_classes():
    """Szegedy et al. 2016, section 7: (1 - s) of the one-hot and s / K of every class."""
    recipe = build(label_smoothing=0.3, learning_rate=1e-9)
    torch.nn.init.normal_(recipe.classifier.network.head.weight)
    batch = batch_of()
    log_p = recipe.classifier(batch["train"]["image"])[0].log_softmax(1)
    target = 0.7 * torch.nn.functional.one_hot(batch["train"]["label"], 3) + 0.1
    assert recipe.training_step(batch, 0)["loss"].item() == pytest.approx(-(target * log_p).sum(1).mean().item(), rel=1e-5)


def test_the_update_is_bounded_by_the_clipped_norm():
    """Under SGD without momentum the weights move by the learning rate times the gradient."""
    recipe = build(optimizer="sgd", learning_rate=2.0, momentum=0.0, clip_norm=0.01)
    before = torch.nn.utils.parameters_to_vector(recipe.parameters()).clone()
    recipe.training_step(batch_of(), 0)
    moved = torch.nn.utils.parameters_to_vector(recipe.parameters()) - before
    assert moved.norm().item() == pytest.approx(2.0 * 0.01, rel=1e-3)


@pytest.mark.parametrize(("model", "options", "prefers"), [("pp_lcnet", {"scale": 0.25}, True), ("vit", VIT, False)])
def test_the_network_decides_whether_auto_means_fp32(model, options, prefers):
    """bf16 makes depthwise convolutions slower."""
    assert Classification.build(run_settings(model, options), {"main": FACTS}, {}).prefers_fp32 is prefers


def test_batches_are_drawn_as_the_run_says():
    streams = build(sampler="balanced", batch_size=5).streams()
    assert (streams["train"].sampler, streams["train"].batch_size) == ("balanced", 5)


def test_momentum_and_decay_are_the_run_s_in_every_group():
    groups = build(optimizer="sgd", learning_rate=0.1, momentum=0.7, weight_decay=0.2).optimizers["network"].param_groups
    assert [(group["momentum"], group["nesterov"], group["weight_decay"]) for group in groups] == [
        (0.7, True, 0.2),
        (0.7, True, 0),
    ]
    groups = build(optimizer="adamw", momentum=0.7, weight_decay=0.2).optimizers["network"].param_groups
    assert [(group["betas"], group["weight_decay"]) for group in groups] == [((0.7, 0.999), 0.2), ((0.7, 0.999), 0)]


def test_validation_measures_each_image_without_smoothing():
    recipe = build(label_smoothing=0.3).eval()
    torch.nn.init.normal_(recipe.classifier.network.head.weight)
    batch = batch_of()
    logits, label = recipe.classifier(batch["train"]["image"])[0], batch["train"]["label"]
    figures = recipe.validate(batch)
    surprise = -logits.log_softmax(1)[torch.arange(6), label]
    torch.testing.assert_close(figures["negative_log_likelihood"], surprise)
    assert figures["accuracy"].tolist() == (logits.argmax(1) == label).tolist()


class Oracle:
    """A served classifier that reads the class off the image: the pixel value is the class."""

    def __init__(self):
        self.facts = {"classes": ["a", "b", "c"]}

    def scores(self, image):
        return {"logits": np.eye(3)[image[:, 0, 0, 0]] * 9}


def evaluate(names, labels, pixels):
    """Score images of one pixel value each, in a linked view whose classes are ``names``."""
    image = to_unit_range(torch.tensor(pixels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 16, 16, 1))
    facts = replace(FACTS, name="other", channels=1, classes={"label": names})
    split = Split(facts, [{"image": image, "label": torch.tensor(labels)}])
    return evaluation.evaluate(Oracle(), {"main": split}, run_settings("vit", VIT), {})


def test_a_linked_view_is_scored_by_class_names_and_not_by_their_order():
    report = evaluate(("c", "a"), labels=[0, 1, 0], pixels=[2, 0, 0])
    assert report.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert report.pictures["confusion"].matrix.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]


def test_a_view_of_unknown_classes_is_refused():
    with pytest.raises(ValueError, match="'other' has classes that the classifier was not trained on: alpha"):
        evaluate(("a", "alpha"), labels=[0], pixels=[0])


def test_a_rectangular_view_is_learnt_exported_served_and_evaluated(tmp_path):
    facts = ViewFacts("v", (8, 16), 1, {"label": ("a", "b")}, (0.0,), (1.0,), {"train": 8}, "")
    recipe = Classification.build(run_settings("vit", VIT, learning_rate=0.01), {"main": facts}, {})
    labels = torch.arange(8) % 2
    pixels = (labels.view(-1, 1, 1, 1) * 200).to(torch.uint8).expand(8, 8, 16, 1).contiguous()
    for step in range(30):
        recipe.training_step({"train": {"image": to_unit_range(pixels), "label": labels}}, step)
    exportable = recipe.eval().exportable()
    assert exportable.signature["inputs"][0]["shape"] == [-1, 8, 16, 1]
    assert {(output["name"], *output["shape"]) for output in exportable.signature["outputs"]} == {
        *(("label", -1), ("probability", -1), ("class_name", -1))
    }
    write_graph(exportable.graphs["model"], {"image": to_unit_range(pixels)}, tmp_path / "model.onnx")
    (tmp_path / "facts.json").write_text(json.dumps(exportable.facts))
    served = Served(tmp_path)
    report = evaluation.evaluate(
        served, {"main": Split(facts, [{"image": pixels, "label": labels}])}, run_settings("vit", VIT), {}
    )
    assert report.metrics["accuracy"].value == 1.0
    with pytest.raises(ValueError, match=r"image: the shape must be \[N, 8, 16, 1\], found \[8, 16, 8, 1\]"):
        served.predict({"image": pixels.numpy().transpose(0, 2, 1, 3)})


def of_scores(scores, labels, facts=FACTS):
    """A split whose images hold a score from 0 to 255 in their first pixel."""
    image = torch.tensor(scores, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 16, 16, 3)
    return Split(facts, [{"image": image, "label": torch.tensor(labels)}])


class Scoring(Oracle):
    """A served classifier whose log-odds of class b are the first pixel."""

    def scores(self, image):
        return {"logits": np.stack([image[:, 0, 0, 0] * 0.0, image[:, 0, 0, 0] * 1.0, image[:, 0, 0, 0] * 0.0], 1)}


def test_the_threshold_of_tpr_at_fpr_is_the_validation_split_s():
    settings = run_settings("vit", VIT)
    point = {"positive": "b", "fpr": 0.34}
    settings = replace(settings, evaluate=evaluation.Settings(tpr_at_fpr=point))
    assert evaluation.further_splits(settings.evaluate) == {"main:validation": "validation"}
    assert evaluation.further_splits(evaluation.Settings()) == {}
    validation = of_scores([10, 50, 90, 60, 95], [0, 0, 2, 1, 1])  # one of three others may be above: above 50
    scored = of_scores([20, 55, 60, 70, 55, 50], [0, 0, 0, 0, 1, 1])
    report = evaluation.evaluate(Scoring(), {"main": scored, "main:validation": validation}, settings, {})
    figures = {name: metric.value for name, metric in report.metrics.items() if name.startswith("tpr")}
    assert figures == {"tpr_at_fpr": 0.5, "tpr_at_fpr_realised_fpr": 0.75, "tpr_at_fpr_same_split": 0.0}
    assert report.items["tpr_at_fpr"].mean() == pytest.approx(0.5)
    rows = report.tables["tpr_at_fpr"]
    assert [(row["tpr"], row["fpr"], row["tpr above"]) for row in rows[:2]] == [
        (1.0, pytest.approx(1 / 3, abs=1e-6), 2),
        (0.5, 0.75, 1),
    ]
    assert "main:validation.accuracy" not in report.metrics
    settings = replace(settings, evaluate=evaluation.Settings(tpr_at_fpr={"positive": "z"}))
    with pytest.raises(ValueError, match=r"evaluate\.tpr_at_fpr\.positive: 'z' is not a class; the classes are a, b, c"):
        evaluation.evaluate(Scoring(), {"main": scored, "main:validation": validation}, settings, {})
