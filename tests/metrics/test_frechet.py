"""Fréchet distance against closed forms of Gaussians."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from components.metrics.samples.distances import frechet_distance, frechet_of_moments, moments


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def features(rng: np.random.Generator, images: int, width: int) -> np.ndarray:
    """Correlated, far from the origin, of unequal scales."""
    return rng.normal(size=(images, width)) @ rng.normal(size=(width, width)) + 3 * rng.normal(size=width)


def test_moments_are_numpy_s(rng):
    x = features(rng, 20, 5)
    mean, covariance = moments(x.astype(np.float32))
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False), atol=1e-5)


def test_covariances_with_common_axes_have_a_closed_form():
    axes, a, b = ortho_group.rvs(6, random_state=0), np.array([4, 1, 0.25, 9, 0, 1]), np.array([1, 1, 4, 0, 0, 2.25])
    mean_a, mean_b = np.zeros(6), np.array([3.0, 0, 4, 0, 0, 0])
    found = frechet_of_moments(mean_a, axes * a @ axes.T, mean_b, axes * b @ axes.T)
    assert found == pytest.approx(25 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum())


def test_full_rank_is_the_formula_with_the_matrix_root(rng):
    x, y = features(rng, 200, 8), features(rng, 150, 8)
    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    expected = ((mean_x - mean_y) ** 2).sum() + np.trace(cov_x + cov_y - 2 * sqrtm(cov_x @ cov_y).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(y, x) == pytest.approx(expected)


def test_fewer_images_than_features_is_the_formula_by_the_images_themselves(rng):
    """Tr (A^1/2 B A^1/2)^1/2 is the nuclear norm of X Y^T for A = X^T X, B = Y^T Y: no root of a singular matrix is taken."""
    x, y = features(rng, 12, 40), features(rng, 9, 40)
    a, b = (x - x.mean(0)) / np.sqrt(11), (y - y.mean(0)) / np.sqrt(8)
    overlap = np.linalg.norm(a @ b.T, ord="nuc")
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * overlap
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("images", "width"), [(200, 8), (12, 60), (2, 3)])
def test_a_set_is_at_0_from_itself(images, width, rng):
    x = features(rng, images, width)
    assert frechet_distance(x, x[::-1]) <= 1e-10 * np.trace(moments(x)[1])


@pytest.mark.parametrize(
    ("real", "made", "told"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), r"real: 1 image\(s\) are too few: at least 2"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "real has 3 an image, made 4"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "made: features of image 0 are not finite"),
        (np.zeros((5, 3)), np.zeros((5, 3, 1)), r"made: features \[N, F\] are expected"),
        (np.zeros((5, 0)), np.zeros((5, 0)), r"real: features \[N, F\] are expected"),
    ],
)
def test_what_cannot_be_compared_is_said(real, made, told):
    with pytest.raises(ValueError, match=told):
        frechet_distance(real, made)


def test_moments_of_other_features_are_refused(rng):
    with pytest.raises(ValueError, match="moments: the first are of 3 features, the second of 4"):
        frechet_of_moments(*moments(rng.normal(size=(5, 3))), *moments(rng.normal(size=(5, 4))))
