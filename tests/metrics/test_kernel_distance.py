"""Kernel distance against its definition."""

import numpy as np
import pytest

from components.metrics.samples import distances as module
from components.metrics.samples.distances import kernel_distance


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, eq. 3, term by term."""

    def mean(xs, ys, skip):
        return np.mean([(x @ y / len(x) + 1) ** 3 for i, x in enumerate(xs) for j, y in enumerate(ys) if not (skip and i == j)])

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)


@pytest.mark.parametrize("block", [2**22, 40])
def test_it_is_the_definition_in_one_block_and_in_many(block, monkeypatch, rng):
    monkeypatch.setattr(module, "BLOCK", block)
    a, b = rng.normal(size=(13, 5)), rng.normal(size=(9, 5)) + 1
    assert kernel_distance(a, b) == pytest.approx(by_definition(a, b), rel=1e-10)


def test_it_is_0_on_average_for_one_distribution(rng):
    found = [kernel_distance(*np.split(rng.normal(size=(12, 4)) + 1, 2)) for _ in range(3000)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert error < 0.2  # with each image beside itself among the pairs the mean would be above 2
