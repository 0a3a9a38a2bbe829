"""A classifier of several classes per image: what is scored, and what is answered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from workbench import run_settings

from components.core.batch import Split, ViewFacts
from components.families.classification import evaluation
from components.families.classification.multi_label import summarise_labels
from components.families.classification.operating_point import VALIDATION
from components.families.classification.recipe import Classification
from components.families.classification.served import Served
from components.serving.answers import answers

torch.set_num_threads(1)  # the networks are too small for more
CLASSES = ("cat", "dog", "owl")
FACTS = ViewFacts("v", 8, 1, {"labels": CLASSES}, (0.0,), (1.0,), {"train": 4}, "")
MODEL = {"patch": 4, "width": 8, "depth": 1, "heads": 2}


class Oracle:
    """Reads the logits off the first three pixels: 200 is yes, less is less sure."""

    def __init__(self):
        self.facts = {"classes": list(CLASSES), "multi_label": True}

    def scores(self, image):
        return {"logits": (image[:, 0, :3, 0].astype(np.float32) - 100) / 50}


def split(labels, pixels, names=CLASSES):
    images = np.zeros((len(pixels), 8, 8, 1), np.uint8)
    images[:, 0, :3, 0] = pixels
    facts = ViewFacts("v", 8, 1, {"labels": names}, (0.0,), (1.0,), {"test": len(pixels)}, "")
    return Split(facts, [{"image": torch.from_numpy(images), "labels": torch.tensor(labels)}])


def test_figures_and_rows_by_hand():
    labels = [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    pixels = [[200, 0, 0], [200, 0, 0], [0, 200, 0], [200, 0, 0]]  # one dog missed, one cat too many
    report = evaluation.evaluate(Oracle(), {"main": split(labels, pixels)}, run_settings("vit", MODEL), {})
    figures = {name: metric.value for name, metric in report.metrics.items()}
    assert figures["exact_match"] == 0.5
    assert figures["accuracy"] == pytest.approx(10 / 12)
    assert figures["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 2))
    assert figures["f1_macro"] == pytest.approx((0.8 + 2 / 3) / 2), "no image has an owl, and none was told to"
    assert figures["mean_average_precision"] == pytest.approx((2 / 3 + (0.5 + 2 / 4 * 0.5)) / 2)
    assert report.metrics["negative_log_likelihood"].better == "min"
    assert [(row["class"], row["images"], row["told"]) for row in report.tables["per_class"]] == [
        ("cat", 2, 3), ("dog", 2, 1), ("owl", 0, 0)
    ]  # fmt: skip
    assert report.tables["per_class"][2]["average_precision"] is None
    for name, values in report.items.items():
        assert values.mean() == pytest.approx(figures[name])


def test_the_threshold_and_the_order_of_a_linked_view_s_classes_act():
    logits, truth = np.array([[1.0, -1.0]]), np.array([[True, True]])
    assert summarise_labels(logits, truth, ("a", "b"), np.array([0.5, 0.5]))[0]["exact_match"] == 0
    assert summarise_labels(logits, truth, ("a", "b"), np.array([0.5, 0.2]))[0]["exact_match"] == 1
    turned = split([[0.0, 0.0, 1.0]], [[200, 0, 0]], names=("dog", "owl", "cat"))
    settings = run_settings("vit", MODEL)
    views = {"main": split([[1.0, 0.0, 0.0]], [[200, 0, 0]]), "other": turned}
    assert evaluation.evaluate(Oracle(), views, settings, {}).metrics["other.exact_match"].value == 1
    with pytest.raises(ValueError, match="view 'v' has the labels cat, dog, not cat, dog, owl"):
        evaluation.evaluate(Oracle(), {"main": split([[1.0, 0.0]], [[200, 0, 0]], names=("cat", "dog"))}, settings, {})


def test_thresholds_come_from_the_validation_split_and_are_applied_to_the_other():
    settings = run_settings("vit", MODEL)
    settings = replace(settings, evaluate=evaluation.Settings(threshold="validation"))
    assert evaluation.further_splits(settings.evaluate) == {VALIDATION: "validation"}
    chosen = split([[1.0, 0, 0], [1.0, 0, 0], [0.0, 0, 0]], [[90, 0, 0], [80, 0, 0], [20, 0, 0]])  # a cat is above 50
    scored = split([[1.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0]], [[70, 0, 0], [30, 0, 0], [45, 0, 0]])
    further = {"main": scored, VALIDATION: chosen}
    report = evaluation.evaluate(Oracle(), further, settings, {})
    assert report.metrics["exact_match"].value == 1
    assert not any(name.startswith(VALIDATION) for name in [*report.metrics, *report.tables])
    assert report.tables["per_class"][0]["threshold"] == pytest.approx(
        (1 / (1 + np.exp(0.4)) + 1 / (1 + np.exp(1.6))) / 2, abs=1e-4
    )
    fixed = evaluation.evaluate(Oracle(), {"main": split([[1.0, 0, 0]], [[70, 0, 0]])}, run_settings("vit", MODEL), {})
    assert fixed.metrics["exact_match"].value == 0


def test_an_export_answers_with_a_probability_of_each_class():
    exportable = Classification.build(run_settings("vit", MODEL), {"main": FACTS}, {}).exportable()
    assert exportable.signature["outputs"][-1] == {"name": "probabilities", "dtype": "float32", "shape": [-1, 3]}
    served = Served.__new__(Served)
    served.facts, served.classes, served.detections = exportable.facts, np.array(exportable.facts["classes"]), []
    pixels = np.zeros((3, 8, 8, 1), np.uint8)
    pixels[:, 0, :3, 0] = [[200, 90, 0], [100, 0, 250], [0, 0, 1]]
    served.scores = Oracle().scores
    logits, answer = served.scores(pixels)["logits"], served.predict({"image": pixels})
    np.testing.assert_allclose(answer["probabilities"], 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-5)
    np.testing.assert_array_equal(answer["probability"], answer["probabilities"].max(1))
    assert answer["class_name"].tolist() == ["cat", "owl", "owl"]
    assert {output["name"] for output in exportable.signature["outputs"]} == set(answer)
    row = answers(served, pixels)[0]
    assert row["top"][0] == {"class_name": "cat", "probability": pytest.approx(row["probability"])}
    assert [entry["class_name"] for entry in row["top"]] == ["cat", "dog", "owl"]
