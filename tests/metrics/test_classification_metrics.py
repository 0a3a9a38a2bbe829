"""Every figure against brute force over the definition."""

import math

import numpy as np
import pytest

from components.metrics import classification
from components.metrics.classification import (
    calibration_error,
    confusion,
    expected_calibration_error,
    in_top_k,
    pooled,
    softmax,
    summarise,
    surprise,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(200, 7)) * 3
LABELS = RNG.integers(0, 7, size=200)


@pytest.mark.parametrize("k", [1, 3, 5, 7])
def test_top_k_is_membership_in_the_k_best(k):
    expected = np.mean([label in np.argsort(row)[-k:] for row, label in zip(LOGITS, LABELS, strict=True)])
    assert in_top_k(LOGITS, LABELS, k).mean() == pytest.approx(expected)


def test_a_constant_classifier_gets_nothing_for_its_ties():
    assert in_top_k(np.zeros((4, 3)), np.array([0, 1, 2, 0]), 1).mean() == 0.0


def test_negative_log_likelihood_is_the_mean_of_minus_log_softmax():
    expected = -np.mean([math.log(math.exp(r[y]) / sum(math.exp(v) for v in r)) for r, y in zip(LOGITS, LABELS, strict=True)])
    assert surprise(LOGITS, LABELS).mean() == pytest.approx(expected)
    assert np.isfinite(surprise(LOGITS * 1e4, LABELS)).all()


def test_calibration_error_is_the_definition_over_bins():
    probabilities, bins, expected = softmax(LOGITS), 10, 0.0
    for m in range(bins):
        inside = [i for i, p in enumerate(probabilities) if m / bins < p.max() <= (m + 1) / bins]
        if inside:
            accuracy = np.mean([probabilities[i].argmax() == LABELS[i] for i in inside])
            expected += len(inside) / len(LABELS) * abs(accuracy - np.mean([probabilities[i].max() for i in inside]))
    assert expected_calibration_error(probabilities, LABELS, bins) == pytest.approx(expected)


def test_every_bin_of_confidence_counts_by_itself():
    """Neighbours err in opposite directions, so that two in one bin would cancel."""
    confidence, right = np.array([0.05, 0.15, 0.85, 0.95]), np.array([True, False, True, False])
    assert calibration_error(confidence, right, bins=10) == pytest.approx((0.95 + 0.15 + 0.15 + 0.95) / 4)


def test_the_summary_is_of_the_definitions():
    found = summarise(LOGITS, LABELS, bins=10)
    p = softmax(LOGITS)
    expected = {
        "accuracy": (LOGITS.argmax(1) == LABELS).mean(),
        "top5_accuracy": in_top_k(LOGITS, LABELS, 5).mean(),
        "worst_class_accuracy": min((LOGITS[k == LABELS].argmax(1) == k).mean() for k in range(7)),
        "calibration_error": expected_calibration_error(p, LABELS, 10),
        "negative_log_likelihood": -np.log(p[np.arange(200), LABELS]).mean(),
    }
    assert list(found.figures) == list(expected)
    assert found.figures == pytest.approx(expected)
    assert found.items.keys() == {"accuracy", "top5_accuracy", "negative_log_likelihood"}
    assert found.confusion[0].sum() == found.support[0] == (LABELS == 0).sum()


def test_a_confidence_on_the_edge_of_two_bins_belongs_to_the_lower():
    """Guo et al. 2017: bin m holds ((m-1)/M, m/M]. Both images are in (0.5, 0.75]: |1 - (0.75 + 0.625)| / 2."""
    probabilities = np.array([[0.75, 0.25], [0.625, 0.375]])
    assert expected_calibration_error(probabilities, np.array([1, 0]), bins=4) == pytest.approx(0.1875)
    assert expected_calibration_error(np.eye(2), np.array([0, 1]), bins=4) == 0.0, "a confidence of 1 is in the last"


def test_confusion_counts_pairs_with_the_true_class_in_rows():
    found = confusion(np.array([1, 1, 2, 0]), np.array([1, 2, 2, 0]), 3)
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_summary_of_a_class_without_images_is_not_zero_but_unknown():
    found = summarise(LOGITS[:, :3], np.array([0, 1] * 100), bins=15)
    assert np.isnan(found.per_class[2])
    assert found.figures["worst_class_accuracy"] == pytest.approx(np.nanmin(found.per_class))
    assert found.support.tolist() == [100, 100, 0]


@pytest.mark.parametrize("classes", [2, 5, 6])
def test_top_5_of_five_classes_or_fewer_is_no_figure(classes):
    found = summarise(RNG.normal(size=(40, classes)), np.arange(40) % classes, bins=15)
    assert ("top5_accuracy" in found.figures) == ("top5_accuracy" in found.items) == (classes > 5)


def test_a_class_of_few_images_is_not_the_worst():
    logits, labels = np.eye(3)[[0] * 5 + [1] * 5 + [0] * 4], np.array([0] * 5 + [1] * 5 + [2] * 4)
    assert summarise(logits, labels, bins=15).figures["worst_class_accuracy"] == 1.0, "four wrong images of class 2 say little"
    assert "worst_class_accuracy" not in summarise(logits[8:], labels[8:], bins=15).figures


def test_figures_do_not_depend_on_how_many_images_are_handled_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 9)).astype(np.float32), rng.integers(0, 9, 50)
    rows: list[int] = []
    monkeypatch.setattr(classification, "softmax", lambda logits: (rows.append(len(logits)), softmax(logits))[1])
    whole = summarise(logits, labels, bins=10)
    monkeypatch.setattr(classification, "CHUNK", 30)  # three images
    parts = summarise(logits, labels, bins=10)
    assert rows == [50, *[3] * 16, 2]
    assert parts.figures == whole.figures
    for name, values in whole.items.items():
        np.testing.assert_array_equal(parts.items[name], values)
    assert whole.figures["calibration_error"] == expected_calibration_error(softmax(logits.astype(np.float64)), labels, 10)


def test_pooling_sums_neighbours_and_keeps_a_small_matrix():
    matrix = np.arange(25).reshape(5, 5)
    np.testing.assert_array_equal(pooled(matrix, 5), matrix)
    np.testing.assert_array_equal(pooled(matrix, 3), [[12, 20, 13], [52, 60, 33], [41, 45, 24]])
    np.testing.assert_array_equal(pooled(matrix[:2], 5), matrix[:2])
