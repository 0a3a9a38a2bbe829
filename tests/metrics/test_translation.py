"""Figures of translations, by hand."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from components.metrics.samples.distances import frechet_distance
from components.metrics.translation import (
    distance_between,
    distance_of_halves,
    distance_to_normal,
    l1_error,
    spread,
    told_apart,
)


def test_two_classes_are_told_apart_by_their_own_logits_alone_and_each_counts_half():
    source = np.array([[1, 0, 9], [1, 0, 9], [1, 0, 9], [0, 1, 9.0]])  # the third class would win, and is not asked
    target = np.array([[0, 1, 9.0], [1, 1, 0]])  # the second is a tie
    assert told_apart(source, target, (0, 1)) == (3 / 4 + 1 / 2) / 2
    assert told_apart(target, source, (1, 0)) == (3 / 4 + 1 / 2) / 2


def test_distance_takes_equally_many_and_reduces_along_the_real_ones():
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(40, 2)), rng.normal(size=(30, 2)) + 1
    assert distance_between(real, made, None) == frechet_distance(real[:30], made)
    axes = ortho_group.rvs(6, random_state=0)
    noise = 5 * rng.normal(size=(30, 4)) @ axes[2:]  # where the real ones do not vary
    assert distance_between(real @ axes[:2], made @ axes[:2] + noise, 2) == pytest.approx(frechet_distance(real[:30], made))


def test_spread_is_within_inputs_not_between_them():
    features = np.array([[[0.0], [3.0]], [[100.0], [105.0]]])
    assert spread(features) == pytest.approx(4.0)


def test_l1_error_is_in_units_of_minus_1_to_1():
    black, white = np.zeros((2, 3, 3, 1), np.uint8), np.full((2, 3, 3, 1), 255, np.uint8)
    assert l1_error(black, white).tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="are not the same"):
        l1_error(black, white[:1])


def test_distance_to_the_normal_is_that_of_its_moments():
    codes = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * np.sqrt(3) / 2  # covariance I, mean 0
    assert distance_to_normal(codes) == pytest.approx(0, abs=1e-12)
    assert distance_to_normal(codes + np.array([3, 4])) == pytest.approx(25)
    assert distance_to_normal(codes * 3) == pytest.approx(2 * (3 - 1) ** 2)


def test_codes_of_one_distribution_are_as_near_as_halves_and_others_are_not():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 5))
    between, within = distance_of_halves(a, b, seed=0)
    assert abs(between) < 0.15
    assert abs(within) < 0.15
    assert distance_of_halves(a, b + 1, seed=0)[0] > 0.5
    assert distance_of_halves(1000 * a + 500, 1000 * b + 500, seed=0) == pytest.approx((between, within))
    with pytest.raises(ValueError, match=r"b: 3 image\(s\) are too few: at least 4"):
        distance_of_halves(a, b[:3], seed=0)
    a[:, 2] = b[:, 2] = 7.0  # a code that the encoder never uses
    assert np.abs(distance_of_halves(a, b, seed=0)).max() < 0.15
