"""Intervals against their definitions."""

import math

import numpy as np
import pytest

from components.metrics import intervals
from components.metrics.intervals import bootstrap_interval, mean_interval, wilson_interval

Z = 1.959963984540054


@pytest.mark.parametrize(("successes", "number"), [(0, 10), (3, 10), (10, 10), (980, 1000)])
def test_wilsons_limits_are_where_the_score_test_turns(successes, number):
    for limit in wilson_interval(successes, number):
        off = abs(successes / number - limit)
        assert off == pytest.approx(Z * math.sqrt(limit * (1 - limit) / number), abs=1e-7)
    low, high = wilson_interval(successes, number)
    assert 0 <= low < high <= 1, "it has a width, also where all are right"


def test_right_or_wrong_goes_to_wilson_and_one_image_proves_little():
    assert mean_interval(np.ones(1)) == wilson_interval(1, 1)
    assert mean_interval(np.ones(1))[0] < 0.25
    assert mean_interval(np.array([1.0, 0, 1, 1])) == wilson_interval(3, 4)


def test_the_bootstrap_agrees_with_the_normal_interval_and_is_the_same_twice():
    values = np.random.default_rng(0).exponential(size=2000)
    low, high = bootstrap_interval(values)
    reach = Z * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=reach / 10)
    assert (low, high) == bootstrap_interval(values)


def test_many_values_need_no_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "bootstrap_interval", None)
    values = 10 * np.random.default_rng(0).normal(size=20_000)
    reach = Z * values.std() / math.sqrt(20_000)
    assert mean_interval(values) == pytest.approx((values.mean() - reach, values.mean() + reach), rel=1e-3)
    assert np.isnan(mean_interval(np.array([1.5, np.inf]))).all()
