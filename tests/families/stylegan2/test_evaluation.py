"""StyleGAN2's figures beside a judge: class balance, copies, and the latent space, of a linear generator."""

import numpy as np
import pytest

from components.families.stylegan2.evaluation import Settings, balance_table, imbalance, neighbours
from components.families.stylegan2.latent import EPSILON, path_length, separability


def test_imbalance_is_the_total_variation_of_the_judged_classes():
    real, made = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 1, 1])
    assert imbalance(real, made, 3) == pytest.approx(0.125)
    assert imbalance(real, np.array([2, 2]), 3) == 1.0
    assert balance_table(real, made, ["a", "b"])[1] == {"class": "b", "real": 0.5, "made": 0.625}


def test_copies_are_at_distance_nought_and_strangers_are_not():
    real = np.random.default_rng(0).normal(size=(50, 4))
    nearest, ratio = neighbours(real[[7, 3]], real)
    assert (nearest.tolist(), ratio) == ([7, 3], pytest.approx(0.0, abs=1e-6))
    assert neighbours(real + 100.0, real)[1] > 10


class Linear:
    """A generator whose "images" are its styles, as floats."""

    def __init__(self, classes=()):
        self.facts = {"classes": list(classes)}

    def styles(self, number, *, seed, label=None):
        return np.random.default_rng(seed).normal(size=(number, 3)).astype(np.float32)

    def repeated(self, styles):
        return styles

    def synthesise(self, styles, *, noise):
        return styles

    def scores(self, images):
        return {"features": 2.0 * images}


def test_the_path_length_of_a_linear_generator_is_that_of_its_differences():
    served, settings = Linear(), Settings(samples=1000, seed=0)
    styles = served.styles(1000, seed=1)
    expected = 4.0 * np.square(styles[500:] - styles[:500]).sum(1).mean()
    assert path_length(served, served, settings) == pytest.approx(expected, rel=1e-3)
    assert EPSILON == 1 / 16


def test_separability_is_1_for_classes_that_lie_apart_and_their_number_for_chance():
    settings, styles = Settings(samples=600, seed=0), Linear().styles(600, seed=0)
    assert separability(Linear(), (styles[:, 0] > 0).astype(int), settings) == pytest.approx(1.0, abs=0.15)
    chance = np.random.default_rng(5).integers(0, 2, 600)
    assert separability(Linear(), chance, settings) == pytest.approx(2.0, abs=0.05)
    assert separability(Linear(), np.zeros(600, int), settings) is None
