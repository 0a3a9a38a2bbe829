"""Precision, recall, density and coverage against brute force and closed forms."""

import math

import numpy as np
import pytest

from components.metrics import features
from components.metrics.samples.precision_recall import density_coverage, precision_recall


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def by_definition(real: np.ndarray, made: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density, coverage: each ball and each point looked at by itself."""

    def distance(x, y):
        return math.sqrt(sum((s - t) ** 2 for s, t in zip(x, y, strict=True)))

    def radius(points, i):
        return sorted(distance(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    def holds(centres, points):
        reach = [radius(centres, i) for i in range(len(centres))]
        return np.array([[distance(c, p) <= r for p in points] for c, r in zip(centres, reach, strict=True)])

    of_real, of_made = holds(real, made), holds(made, real)
    return of_real.any(0).mean(), of_made.any(0).mean(), of_real.sum() / (k * len(made)), of_real.any(1).mean()


def test_the_neighbours_are_the_papers_third_and_fifth_and_the_nearest_is_allowed(rng):
    real, made = rng.normal(size=(30, 2)) * 1.5, rng.normal(size=(25, 2)) + 0.7
    assert precision_recall(real, made) == pytest.approx(by_definition(real, made, k=3)[:2])
    assert density_coverage(real, made) == pytest.approx(by_definition(real, made, k=5)[2:])
    assert precision_recall(real, made, k=1) == pytest.approx(by_definition(real, made, k=1)[:2])


@pytest.mark.parametrize("block", [2**22, 50])
@pytest.mark.parametrize("grid", [True, False], ids=["ties", "no ties"])
def test_they_are_the_definitions(grid, block, monkeypatch, rng):
    monkeypatch.setattr(features, "BLOCK", block)
    real, made = rng.normal(size=(30, 2)) * 1.5, rng.normal(size=(25, 2)) + 0.7
    if grid:
        real, made = real.round(), made.round()  # whole numbers: exact ties, and images that are the same
    expected = by_definition(real, made, k=3)
    moved = [x + 100 for x in (real, made)]
    assert precision_recall(*moved, k=3) == pytest.approx(expected[:2])
    assert density_coverage(*moved, k=3) == pytest.approx(expected[2:])


def test_a_set_has_the_precision_and_recall_of_itself(rng):
    x = rng.normal(size=(50, 300))
    assert precision_recall(x, x[::-1]) == (1.0, 1.0)
    assert density_coverage(x, x[::-1], k=5) == pytest.approx((6 / 5, 1.0))  # a ball holds its centre and five neighbours


def test_one_distribution_has_density_1_and_the_coverage_of_an_order_of_distances(rng):
    """The k nearest of all are real with probability prod (n - 1 - j) / (n - 1 + m - j), whatever the distribution."""
    n, m, k = 30, 20, 5
    found = np.array([density_coverage(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), k) for _ in range(400)])
    expected = 1.0, 1 - math.prod((n - 1 - j) / (n - 1 + m - j) for j in range(k))
    assert (np.abs(found.mean(0) - expected) < 4 * found.std(0) / math.sqrt(len(found))).all()


def test_one_good_image_made_many_times_is_precise_and_recalls_little(rng):
    real = rng.normal(size=(100, 4))
    made = np.repeat(real[:1], 100, axis=0)
    assert precision_recall(real, made) == (1.0, 0.01)
    assert density_coverage(real, made)[1] < 0.2


def test_far_away_images_have_nothing(rng):
    real = rng.normal(size=(20, 4))
    assert precision_recall(real, real + 1000) == (0.0, 0.0)
    assert density_coverage(real, real + 1000) == (0.0, 0.0)


def test_fewer_images_than_neighbours_are_refused():
    with pytest.raises(ValueError, match=r"real: 3 image\(s\) are too few: at least 4"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)), k=3)
    assert precision_recall(np.eye(4), np.eye(4), k=3) == (1.0, 1.0)
    assert density_coverage(np.eye(4), np.eye(4), k=3) == (4 / 3, 1.0)
    with pytest.raises(ValueError, match=r"made: 3 image\(s\) are too few: at least 4"):
        density_coverage(np.zeros((9, 2)), np.zeros((3, 2)), k=3)
    with pytest.raises(ValueError, match="k: 0 is not allowed"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)), k=0)
