"""Confident learning finds planted wrong labels."""

import numpy as np
import pytest

from components.metrics.classification import softmax
from components.metrics.label_errors import suspected


def probabilities(labels: np.ndarray, classes: int, sure: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(len(labels), classes))
    return softmax(noise + sure * np.eye(classes)[labels])


def test_planted_wrong_labels_come_first_and_clean_ones_are_not_suspected():
    truth = np.arange(300) % 5
    p = probabilities(truth, 5, sure=6.0)
    p[[7, 123]] = 0.9999 * np.eye(5)[truth[[7, 123]]] + 0.00002
    assert len(suspected(p, truth)[0]) == 0
    given = truth.copy()
    given[[7, 123]] = (truth[[7, 123]] + 1) % 5
    rows, likelier = suspected(p, given)
    assert sorted(rows.tolist()) == [7, 123]
    assert likelier.tolist() == truth[rows].tolist()


def test_the_surest_contradiction_is_first():
    truth = np.arange(100) % 2
    p = probabilities(truth, 2, sure=2.0)
    p[3], p[5] = [0.999, 0.001], [0.97, 0.03]
    rows, _ = suspected(p, truth)
    assert rows.tolist().index(3) < rows.tolist().index(5)


def test_a_class_that_the_model_is_never_sure_of_keeps_its_labels():
    """The threshold is the class's own mean: low probabilities of a hard class are no evidence (eq. 2)."""
    labels = np.repeat([0, 1], 50)
    p = np.where(labels[:, None] == 0, [0.95, 0.05], [0.55, 0.45])
    assert len(suspected(p, labels)[0]) == 0, "argmax alone would doubt all of class 1"


def test_a_class_of_one_image_has_a_threshold():
    p = np.array([[0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    rows, likelier = suspected(p, np.array([0, 0, 2, 1]))
    assert (rows.tolist(), likelier.tolist()) == ([1], [2])


@pytest.mark.filterwarnings("error")
def test_a_class_without_images_suspects_nobody():
    p = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7]])
    assert len(suspected(p, np.array([0, 1]))[0]) == 0
