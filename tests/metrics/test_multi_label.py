"""Metrics of several classes per image, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from components.metrics.multi_label import average_precision, average_precisions, best_thresholds, f1_scores

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.random((60, 5)) < [0.5, 0.1, 0.9, 0.3, 0.3]
SCORES = np.round(RANDOM.random((60, 5)) + 0.3 * TRUTH, 1)  # with ties


def test_average_precision_is_scikit_learn_s():
    expected = [average_precision_score(TRUTH[:, k], SCORES[:, k]) for k in range(5)]
    assert average_precisions(SCORES, TRUTH) == pytest.approx(expected, abs=1e-12)


def test_average_precision_by_hand():
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0], bool)) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([0.5, 0.5]), np.array([1, 0], bool)) == 0.5, "equal scores are one threshold"
    assert np.isnan(average_precision(np.array([0.5, 0.4]), np.zeros(2, bool)))


def test_f1_is_scikit_learn_s_over_classes_that_occur():
    predicted = SCORES > 0.6
    micro, macro, per_class = f1_scores(predicted, TRUTH)
    assert micro == pytest.approx(f1_score(TRUTH, predicted, average="micro"), abs=1e-12)
    assert macro == pytest.approx(f1_score(TRUTH, predicted, average="macro"), abs=1e-12)
    assert per_class == pytest.approx(f1_score(TRUTH, predicted, average=None), abs=1e-12)
    never = np.zeros((4, 2), bool)
    never[:, 0] = True
    assert f1_scores(never, never)[:2] == (1.0, 1.0)


def test_the_best_threshold_is_the_best_of_all():
    chosen = best_thresholds(SCORES / 2, TRUTH)
    every = np.linspace(-0.01, 1, 400)[:, None, None]
    right, wrong = (every < SCORES / 2) & TRUTH, (every < SCORES / 2) != TRUTH
    best = (2 * right.sum(1) / (2 * right.sum(1) + wrong.sum(1))).max(0)
    assert f1_scores(chosen < SCORES / 2, TRUTH)[2] == pytest.approx(best)
    assert best_thresholds(np.ones((3, 1)), np.zeros((3, 1), bool)).tolist() == [0.5]
    assert best_thresholds(np.array([[0.9], [0.8], [0.3]]), np.array([[True], [True], [False]])) == pytest.approx(0.55)
    assert best_thresholds(np.array([[0.9], [0.8]]), np.ones((2, 1), bool)).tolist() == [0.4], "below it there is only 0"
