"""Mean distances with closed forms."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from components.metrics import features as module
from components.metrics.features import mean_distance, mean_distance_within


@pytest.mark.parametrize("block", [2**22, 20])
def test_corners_of_a_simplex_are_all_as_far_apart(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    assert mean_distance(3 * np.eye(7)) == pytest.approx(3 * np.sqrt(2))


def test_points_on_a_line_have_the_mean_gap():
    assert mean_distance(np.array([[0.0], [1.0], [3.0]])) == pytest.approx(2.0)


def test_far_from_the_origin_distances_keep_their_digits():
    points = np.random.default_rng(0).normal(size=(7, 5)) + 1e6
    assert mean_distance(points) == pytest.approx(pdist(points).mean(), rel=1e-8)


def test_one_image_made_many_times_has_none():
    assert mean_distance(np.full((20, 5), 1234.56789)) < 1e-6


def test_within_conditions_the_distance_between_them_does_not_count():
    features = np.array([[0.0], [2.0], [1000.0], [1006.0], [1003.0], [-500.0]])
    assert mean_distance_within(features, np.array([4, 4, 7, 7, 7, 9])) == pytest.approx((2 + 4) / 2)  # 9 has one image only


def test_conditions_of_one_image_each_are_refused():
    with pytest.raises(ValueError, match=r"features: 1 image\(s\) are too few: at least 2"):
        mean_distance(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="no one of the 3 has two images"):
        mean_distance_within(np.zeros((3, 2)), np.arange(3))
    with pytest.raises(ValueError, match=r"3 of them are expected, one an image, found shape \[2\]"):
        mean_distance_within(np.zeros((3, 2)), np.arange(2))
