"""The tests keep their false-alarm rate, find what is there, and pass over what is certain but small."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binom

from components.metrics.detection import threshold_at_tpr
from components.registry.monitor.drift import Rule, count, expected_index, judge, p_of_rejected, stability_index

REFERENCE = 400


def alarms(draws: int, n: int, rule: Rule, shift: float = 0.0, seed: int = 0) -> int:
    """How many of ``draws`` reports are alarms; reference and new images are drawn anew each time."""
    generator = np.random.default_rng([seed, n])
    found = 0
    for _ in range(draws):
        reference, new = generator.gumbel(size=REFERENCE), generator.gumbel(-shift, size=n)
        found += judge(reference, new, threshold_at_tpr(reference, 0.95), rule).drift
    return found


@pytest.mark.parametrize("n", [50, 250, 1000])
def test_the_false_alarm_rate_is_what_was_asked_for(n):
    rule, draws = Rule(1, alarm=0.05, psi=0.0), 300  # without the index, which only makes alarms rarer
    found = alarms(draws, n, rule)
    assert found <= binom.ppf(0.9999, draws, rule.alarm)
    assert found >= binom.ppf(0.0001, draws, rule.alarm / 3)  # nor do the tests sleep


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 400, 2000])
def test_the_false_alarm_rate_in_the_far_tail(n):
    rule, draws = Rule(1, alarm=0.01, psi=0.0), 4_000
    found = alarms(draws, n, rule)
    print(f"{n} new images: {found} alarms in {draws} reports")
    assert binom.ppf(0.0001, draws, rule.alarm / 3) <= found <= binom.ppf(0.9999, draws, rule.alarm)


def test_a_shift_of_half_a_deviation_is_found_in_two_hundred_images():
    assert alarms(40, 200, Rule(1, alarm=0.01, psi=0.1), shift=0.64) >= 38


def test_what_is_certain_but_small_is_no_drift():
    generator = np.random.default_rng(1)
    reference, new = generator.normal(size=20_000), generator.normal(-0.1, size=100_000)
    found = judge(reference, new, threshold_at_tpr(reference, 0.95), Rule(1, 0.01, 0.1))
    assert found.p < 1e-6
    assert found.psi < 0.1
    assert not found.drift


def test_more_rejected_images_alone_are_an_alarm():
    generator = np.random.default_rng(2)
    reference, new = generator.normal(size=400), generator.normal(size=300)
    new[:40] = -9.0
    found = judge(reference, new, threshold_at_tpr(reference, 0.95), Rule(1, 0.01, 0.0))
    assert found.p_rejected < 1e-5
    assert found.p_scores > 1e-3
    assert found.drift
    assert found.rejected >= 40 / 300


def test_the_number_of_rejected_images_has_the_law_of_exceedances():
    # All C(m + n, n) orders of reference and new scores are equally likely: count those with k new ones below reference r.
    m, n, below = 20, 7, 2
    chances = [comb(below + k, k) * comb(m - below - 1 + n - k, n - k) / comb(m + n, n) for k in range(n + 1)]
    assert sum(chances) == pytest.approx(1)
    for rejected in range(n + 1):
        assert p_of_rejected(rejected, n, below, m) == pytest.approx(sum(chances[rejected:]))
    assert p_of_rejected(5, 7, 20, 20) == 1.0  # a threshold above all of the reference rejects everything, and proves nothing


def test_the_index_is_its_formula_and_has_the_mean_that_is_said():
    bins = count(np.arange(100.0), np.repeat([-5.0, 55.0], [30, 10]))
    assert bins.reference.tolist() == [10] * 10
    assert bins.new.tolist() == [30, 0, 0, 0, 0, 10, 0, 0, 0, 0]
    e, a = np.full(10, 10.5) / 105, np.array([30.5, *[0.5] * 4, 10.5, *[0.5] * 4]) / 45
    assert stability_index(bins) == pytest.approx(sum((x - y) * np.log(x / y) for x, y in zip(a, e, strict=True)))
    generator = np.random.default_rng(3)
    drawn = [count(generator.normal(size=400), generator.normal(size=200)) for _ in range(300)]
    assert np.mean([stability_index(bins) for bins in drawn]) == pytest.approx(expected_index(drawn[0]), rel=0.1)


def test_equal_scores_share_a_bin_and_are_no_drift():
    reference = np.repeat([1.0, 2.0], [380, 20])
    found = judge(reference, np.repeat([1.0, 2.0], [190, 10]), 1.0, Rule(1, 0.01, 0.1))
    assert not found.drift
    assert found.psi == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("new", [np.array([]), np.array([1.0, np.nan]), np.ones((2, 2))])
def test_scores_that_cannot_be_compared_are_refused(new):
    with pytest.raises(ValueError, match="new: scores of shape"):
        judge(np.arange(9.0), new, 1.0, Rule(1, 0.01, 0.1))
