"""Every figure against scikit-learn and against brute force over the definition, with many ties."""

import numpy as np
import pytest
from sklearn import metrics

from components.metrics import detection

RNG = np.random.default_rng(0)
CASES = {
    "continuous": (RNG.normal(size=173) + 1, RNG.normal(size=91)),
    "many ties": (RNG.integers(3, 12, size=200).astype(float), RNG.integers(0, 9, size=150).astype(float)),
    "all equal": (np.zeros(7), np.zeros(5)),
    "apart": (np.array([2.0, 3.0]), np.array([0.0, 1.0])),
    "the wrong way round": (np.array([0.0, 1.0]), np.array([2.0, 3.0])),
    "one each": (np.array([1.0]), np.array([1.0])),
    "float32": (RNG.normal(size=60).astype(np.float32), RNG.normal(size=20).astype(np.float32)),
    "infinite": (np.array([np.inf, 1.0, 0.0]), np.array([-np.inf, 0.0])),
}


@pytest.fixture(params=CASES)
def scores(request):
    return CASES[request.param]


def stacked(inside, outside):
    """(1 for inside, score): scikit-learn refuses infinity, so ranks stand in for the scores."""
    scores = np.concatenate([inside, outside])
    return np.repeat([1, 0], [len(inside), len(outside)]), np.unique(scores, return_inverse=True)[1]


def test_areas_are_scikit_learns(scores):
    positive, score = stacked(*scores)
    assert detection.auroc(*scores) == pytest.approx(metrics.roc_auc_score(positive, score))
    assert detection.aupr_in(*scores) == pytest.approx(metrics.average_precision_score(positive, score))
    assert detection.aupr_out(*scores) == pytest.approx(metrics.average_precision_score(1 - positive, -score))


def test_auroc_is_the_chance_to_rank_a_pair_right(scores):
    inside, outside = scores
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    assert detection.auroc(inside, outside) == pytest.approx(np.mean(pairs))


def test_the_roc_curve_is_scikit_learns(scores):
    positive, score = stacked(*scores)
    wanted_fpr, wanted_tpr, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    fpr, tpr = detection.roc_curve(*scores)
    np.testing.assert_allclose(fpr, wanted_fpr)
    np.testing.assert_allclose(tpr, wanted_tpr)


@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.95, 1.0])
def test_fpr_with_outside_as_positive_is_the_first_point_of_the_curve_that_reaches_it(scores, tpr):
    positive, score = stacked(*scores)
    fpr, reached, _ = metrics.roc_curve(1 - positive, -score, drop_intermediate=False)
    assert detection.fpr_out_positive(*scores, tpr) == pytest.approx(fpr[np.argmax(reached >= tpr)])


@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.95, 1.0])
def test_fpr_with_inside_as_positive_keeps_the_floor_of_the_share(scores, tpr):
    inside, outside = scores
    kept = sorted(inside, reverse=True)[: max(1, int(tpr * 100) * len(inside) // 100)]
    assert detection.fpr_in_positive(inside, outside, tpr) == pytest.approx(sum(o >= kept[-1] for o in outside) / len(outside))


def test_the_two_published_definitions_differ():
    """Of 20 and 20 images, two outside ones slip through, and four inside ones are false alarms."""
    inside = np.array([-5.0, 1, 3, 5, 7, *range(20, 35)])
    outside = np.array([8.0, 6, *range(-40, -22)])
    assert detection.fpr95_in_positive(inside, outside) == 2 / 20  # 19 inside images reach 1, and so do 8 and 6
    assert detection.fpr95_out_positive(inside, outside) == 4 / 20  # 19 outside images are at most 6, and so are -5, 1, 3, 5


def test_images_that_tie_with_the_threshold_are_errors():
    """Of 20 inside images three tie at the rank of 95 %, with one of four outside ones; one of 20 outside with three inside."""
    inside = np.array([0.0, 1, 1, 1, *range(2, 18)])
    outside = np.array([1.0, 0.5, 0.5, 0])
    assert detection.fpr95_in_positive(inside, outside) == 1 / 4  # all three at 1 are accepted, so 1 is missed
    assert detection.threshold_at_tpr(inside, 0.95) == 1.0
    assert detection.fpr95_out_positive(inside, np.array([1.0, *range(-19, 0)])) == 0.0  # rank 19 of 20 is -1
    assert detection.fpr95_out_positive(inside, np.array([2.0, 1, *range(-18, 0)])) == 4 / 20  # rank 19 is 1: 0, 1, 1, 1
    same = np.zeros(20)
    assert detection.fpr95_in_positive(same, same) == detection.fpr95_out_positive(same, same) == 1.0
    assert detection.auroc(same, same) == 0.5


def test_shares_that_floats_miss_are_taken_as_written():
    for count in range(20, 2001, 20):
        scores = np.arange(count, dtype=float)
        assert np.mean(scores >= detection.threshold_at_tpr(scores, 0.95)) == 0.95
        assert detection.fpr95_in_positive(scores, scores) == 0.95
        assert detection.fpr95_out_positive(scores, scores) == 0.95


@pytest.mark.parametrize("tpr", [0.01, 0.5, 0.95, 0.999, 1.0])
def test_the_threshold_is_the_highest_that_the_share_reaches(scores, tpr):
    inside, _ = scores
    threshold = detection.threshold_at_tpr(inside, tpr)
    assert np.mean(inside >= threshold) >= tpr
    assert all(np.mean(inside >= higher) < tpr for higher in inside if higher > threshold)


def test_all_figures_by_name(scores):
    figures = detection.detection_figures(*scores)
    assert list(figures) == ["auroc", "aupr_in", "aupr_out", "fpr95_in_positive", "fpr95_out_positive"]
    assert all(0 <= value <= 1 for value in figures.values())


@pytest.mark.parametrize("figure", [detection.auroc, detection.aupr_in, detection.aupr_out, detection.roc_curve])
def test_empty_sets_and_nan_are_named(figure):
    good = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"outside: the scores have shape \[0\]"):
        figure(good, np.array([]))
    with pytest.raises(ValueError, match="inside: 1 of 2 scores are NaN"):
        figure(np.array([1.0, np.nan]), good)
    with pytest.raises(ValueError, match=r"inside: the scores have shape \[2, 1\]"):
        figure(good[:, None], good)


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.5, 95.0, float("nan")])
def test_a_rate_that_is_no_share_is_named(tpr):
    with pytest.raises(ValueError, match=r"tpr: .* is not allowed: above 0, at most 1"):
        detection.threshold_at_tpr(np.array([1.0]), tpr)
