"""Tango's interval against an inversion of the score test that knows none of its formulas; the t interval against scipy."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm, ttest_rel

from components.registry.promotion.intervals import mcnemar, paired_interval, tango_interval

CASES = [(0, 0, 360), (1, 0, 44), (0, 3, 360), (10, 3, 100), (5, 5, 50), (0, 20, 30), (30, 0, 30)]


def score_test(gained: int, lost: int, images: int, difference: float) -> float:
    """The score statistic with the likelihood maximised numerically over p21, p12 being p21 + difference."""

    def surprise(p21: float) -> float:
        cells = ((gained, p21 + difference), (lost, p21), (images - gained - lost, 1 - 2 * p21 - difference))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    ends = (max(0.0, -difference), (1 - difference) / 2)
    found = minimize_scalar(surprise, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
    p21 = min([found, *ends], key=surprise)
    return (gained - lost - images * difference) / math.sqrt(images * (2 * p21 + difference - difference**2))


@pytest.mark.parametrize(("gained", "lost", "images"), CASES)
def test_tango_is_the_inverted_score_test(gained, lost, images):
    low, high = tango_interval(gained, lost, images, 0.95)
    z, estimate = norm.ppf(0.975), (gained - lost) / images
    if estimate > -1:
        assert low == pytest.approx(
            brentq(lambda d: score_test(gained, lost, images, d) - z, -1 + 1e-9, estimate - 1e-9), abs=1e-6
        )
    if estimate < 1:
        assert high == pytest.approx(
            brentq(lambda d: score_test(gained, lost, images, d) + z, estimate + 1e-9, 1 - 1e-9), abs=1e-6
        )
    assert -1 <= low <= estimate <= high <= 1


def test_without_a_disputed_image_it_keeps_its_width():
    """Where the estimate's own variance is zero; z^2 / (n + z^2) by hand."""
    z = norm.ppf(0.975)
    low, high = tango_interval(0, 0, 360, 0.95)
    assert (low, high) == (pytest.approx(-(z**2) / (360 + z**2)), pytest.approx(z**2 / (360 + z**2)))
    assert tango_interval(0, 0, 36000, 0.95)[1] < high


def test_swapped_models_mirror_it():
    (low, high), (swapped_low, swapped_high) = tango_interval(7, 2, 90, 0.9), tango_interval(2, 7, 90, 0.9)
    assert (low, high) == (pytest.approx(-swapped_high), pytest.approx(-swapped_low))


def test_it_covers_the_truth_as_often_as_it_says():
    generator, images = np.random.default_rng(0), 360
    for p12, p21 in ((0.01, 0.01), (0.03, 0.01)):
        counts = generator.multinomial(images, (p12, p21, 1 - p12 - p21), size=2000)
        found = {pair: tango_interval(*pair, images, 0.95) for pair in {(int(a), int(b)) for a, b, _ in counts}}
        covered = np.mean([found[int(a), int(b)][0] <= p12 - p21 <= found[int(a), int(b)][1] for a, b, _ in counts])
        assert 0.93 <= covered <= 0.975


def test_values_that_are_no_counts_get_students_interval():
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=50), generator.normal(0.1, size=50)
    expected = ttest_rel(first, second).confidence_interval(0.9)
    assert paired_interval(first, second, 0.9) == (pytest.approx(expected.low), pytest.approx(expected.high))
    right = np.array([1.0, 0.0])  # one of the two alone
    expected = ttest_rel(right, second[:2]).confidence_interval(0.9)
    assert paired_interval(right, second[:2], 0.9) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_right_and_wrong_answers_get_tangos():
    first, second = np.array([1, 1, 0, 0, 1.0]), np.array([1, 0, 1, 0, 0.0])
    assert paired_interval(first, second, 0.95) == tango_interval(2, 1, 5, 0.95)


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((1,), (1,)), ((3, 1), (3, 1))])
def test_what_cannot_be_paired_is_an_error(shapes):
    with pytest.raises(ValueError, match="one value an image"):
        paired_interval(np.zeros(shapes[0]), np.zeros(shapes[1]), 0.95)


def test_mcnemar_counts_the_tails_of_a_fair_coin():
    assert mcnemar(9, 1) == mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0
