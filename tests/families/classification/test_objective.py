"""Losses against formulas in float64, the targets that a view has, and settings that do not fit it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from workbench import run_settings

from components.core.batch import ViewFacts
from components.families.classification.losses import balanced_weights, sigmoid_loss, softmax_loss, weights_by_name
from components.families.classification.recipe import Classification

FACTS = ViewFacts("v", 8, 1, {"label": ("a", "b", "c")}, (0.0,), (1.0,), {"train": 9}, "")
SEVERAL = replace(FACTS, classes={"labels": ("a", "b", "c", "d")})
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, 1.0], [-4.0, 0.2, 5.0]])
LABEL = torch.tensor([0, 2, 1, 2])
WEIGHT = torch.tensor([1.0, 0.25, 3.0])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)  # the networks are too small for more


def build(facts=FACTS, **train):
    options = {"patch": 4, "width": 8, "depth": 1, "heads": 2}
    return Classification.build(run_settings("vit", options, **train), {"main": facts}, {})


def by_hand(smoothing=0.0, weight=(1, 1, 1), gamma=0.0):
    """-1/N sum_i sum_k w_k y_k (1 - p_k)^gamma log p_k, term by term."""
    total = 0.0
    for row, label in zip(LOGITS.double().numpy(), LABEL.tolist(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        for k in range(3):
            y = (1 - smoothing) * (k == label) + smoothing / 3
            total -= weight[k] * y * (1 - p[k]) ** gamma * np.log(p[k])
    return total / len(LABEL)


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"smoothing": 0.1},
        {"weight": (1.0, 0.25, 3.0)},
        {"gamma": 2.0},
        {"smoothing": 0.2, "weight": (1.0, 0.25, 3.0)},
        {"gamma": 0.5, "weight": (1.0, 0.25, 3.0)},
    ],
)
def test_the_softmax_loss_is_its_formula(case):
    weight = torch.tensor(case["weight"]) if "weight" in case else None
    found = softmax_loss(LOGITS, LABEL, smoothing=case.get("smoothing", 0.0), weight=weight, gamma=case.get("gamma"))
    assert float(found) == pytest.approx(by_hand(**case), rel=1e-6)


def test_soft_targets_are_taken_as_they_are_and_smoothed_once():
    target = torch.nn.functional.one_hot(LABEL, 3).float()
    assert float(softmax_loss(LOGITS, target, smoothing=0.3)) == pytest.approx(by_hand(), rel=1e-6)


@pytest.mark.parametrize("gamma", [None, 2.0])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_sigmoid_loss_is_its_formula(gamma, weight):
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.5, 1.0, 0.0], [1.0, 1.0, 1.0]])
    total = 0.0
    for row, truth in zip(LOGITS.double().numpy(), target.double().numpy(), strict=True):
        for k in range(3):
            p, y = 1 / (1 + np.exp(-row[k])), truth[k]
            loss = -y * np.log(p) - (1 - y) * np.log(1 - p)
            loss *= (1 - (p * y + (1 - p) * (1 - y))) ** (gamma or 0)
            total += loss * (1.0 if weight is None else float(weight[k]))
    assert float(sigmoid_loss(LOGITS, target, weight=weight, gamma=gamma)) == pytest.approx(total / 12, rel=1e-6)


def test_balanced_weights_make_every_class_count_the_same():
    counts = np.array([10, 30, 0, 60])
    weights = balanced_weights(counts).double().numpy()
    np.testing.assert_allclose((weights * counts)[counts > 0], 100 / 3, rtol=1e-6)
    assert weights[2] == 0


def test_class_weights_are_by_name_and_act():
    batch = {"image": torch.rand(4, 1, 8, 8), "label": LABEL, "target": LABEL}
    recipe = build(class_weights={"c": 3.0, "b": 0.25})
    assert recipe.objective.weight.tolist() == [1.0, 0.25, 3.0]
    assert float(recipe.objective(LOGITS, batch)) == pytest.approx(by_hand(weight=(1.0, 0.25, 3.0)), rel=1e-6)
    recipe = build(class_weights="balanced")
    recipe.weigh_classes(lambda column: {"label": np.array([2, 1, 6])}[column])
    assert recipe.objective.weight.tolist() == pytest.approx([1.5, 3.0, 0.5])
    assert "objective.weight" not in recipe.state_dict()
    with pytest.raises(ValueError, match=r"train\.class_weights\.d: no such class; the view has: a, b, c"):
        weights_by_name({"d": 2.0}, ("a", "b", "c"))


def test_a_view_with_labels_alone_is_learnt_class_by_class():
    recipe = build(SEVERAL, learning_rate=0.03, mixing={}, batch_size=16)
    assert (recipe.objective.several, recipe.class_column, recipe.classifier.network.head.out_features) == (True, "labels", 4)
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(16, 4, generator=generator) > 0.5).float()
    pattern = torch.randn(4, 1, 8, 8, generator=generator)
    batch = {"image": torch.einsum("nk,kchw->nchw", labels, pattern), "labels": labels}
    for step in range(60):
        recipe.training_step({"train": batch}, step)
    figures = recipe.eval().validate({"train": batch})
    assert set(figures) == {"negative_log_likelihood", "accuracy"}
    assert figures["accuracy"].mean() > 0.9
    logits = recipe.classifier(batch["image"])[0].detach().double()
    p = torch.where(labels > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(figures["negative_log_likelihood"], -p.log().sum(1).float(), rtol=1e-4, atol=1e-5)


def test_the_target_is_chosen_if_a_view_has_both_columns():
    both = replace(FACTS, classes={"label": ("a", "b", "c"), "labels": ("x", "y")})
    assert build(both).objective.column == "label"
    assert build(both, target="labels").objective.classes == ("x", "y")
    with pytest.raises(ValueError, match=r"train\.target: labels is not allowed: view 'v' has label"):
        build(target="labels")


@pytest.mark.parametrize("key", ["label_smoothing", "sampler", "top5"])
def test_what_is_for_one_class_per_image_is_refused_with_several(key):
    value = {"label_smoothing": 0.1, "sampler": "balanced", "top5": True}[key]
    with pytest.raises(ValueError, match=rf"train\.{key}: .* is not allowed with several classes per image"):
        build(SEVERAL, **{key: value})


def test_top_5_is_measured_if_asked_for_and_ties_are_errors():
    facts = replace(FACTS, classes={"label": tuple("abcdefg")})
    label = torch.tensor([0, 0, 0])
    logits = torch.tensor([[3.0, 9, 9, 9, 9, 0, 0], [3.0, 9, 9, 9, 9, 9, 0], [3.0, 9, 9, 9, 9, 3, 0]])
    figures = build(facts, top5=True).objective.figures(logits, {"label": label})
    assert figures["top5_accuracy"].tolist() == [1.0, 0.0, 0.0]
    assert "top5_accuracy" in build(facts, select="best", select_metric="top5_accuracy").objective.figures(
        logits, {"label": label}
    )
    assert "top5_accuracy" not in build(facts).objective.figures(logits, {"label": label})
    with pytest.raises(ValueError, match=r"train\.top5: it is 1 whatever is predicted, of 3 classes"):
        build(top5=True)
