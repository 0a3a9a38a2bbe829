"""The threshold against a search of all of them, and its rates on other images."""

import numpy as np
import pytest

from components.metrics.operating_point import GRID, best_on_grid, log_odds, probability, rates_at, threshold_at


def drawn(seed, number=400, ties=True):
    random = np.random.default_rng(seed)
    positive = random.random(number) < 0.3
    scores = random.normal(size=number) + 1.5 * positive
    return (np.round(scores, 1) if ties else scores), positive


@pytest.mark.parametrize("fpr", [0.001, 0.0036, 0.05, 0.29, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_with_as_few_false_positives_finds_more(seed, fpr):
    scores, positive = drawn(seed)
    threshold = threshold_at(scores, positive, fpr)
    found = rates_at(scores, positive, threshold)
    every = [rates_at(scores, positive, t) for t in (-np.inf, *np.unique(scores))]
    assert found.fpr <= fpr
    assert found.tpr == max(rates.tpr for rates in every if rates.fpr <= fpr)


def test_a_share_that_is_a_whole_number_of_images_is_allowed_whole():
    scores, positive = np.arange(3001.0), np.arange(3001) == 3000
    for fpr, above in ((0.001, 3), (0.0333, 99), (0.29, 870), (0.0001, 0), (1.0, 3000)):
        assert rates_at(scores, positive, threshold_at(scores, positive, fpr)).false_positives == above


def test_log_odds_order_what_a_probability_rounds_to_one():
    logits = np.array([[40.0, 0.0, 0.0], [60.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    odds = log_odds(logits, 0)
    np.testing.assert_allclose(odds, [40 - np.log(2), 60 - np.log(1 + np.e), -np.log(2)], rtol=1e-12)
    assert probability(odds)[0] == probability(odds)[1] == 1.0
    np.testing.assert_allclose(probability(odds)[2], 1 / 3)


def test_the_grid_is_paddle_s():
    random = np.random.default_rng(3)
    positive = random.random(300) < 0.5
    scores = probability(random.normal(size=300) + 2.5 * positive)
    threshold, rates = best_on_grid(scores, positive, 0.02)
    best = (0.0, 0.0)
    for index in range(GRID):  # as written there: of all thresholds, the best true positive rate
        above = scores > index / GRID
        tpr, fpr = above[positive].mean(), above[~positive].mean()
        if fpr <= 0.02 and tpr > best[0]:
            best = (tpr, index / GRID)
    assert (rates.tpr, threshold) == pytest.approx(best)
    certain = np.where(np.arange(2000) % 2, 0.99995, 0.99999)
    assert best_on_grid(certain, np.arange(2000) % 2 == 0, 0.001)[1].tpr == 0.0
    odds = np.log(certain / (1 - certain))
    assert rates_at(odds, np.arange(2000) % 2 == 0, threshold_at(odds, np.arange(2000) % 2 == 0, 0.001)).tpr == 1.0


def test_one_kind_of_images_alone_has_no_rates():
    with pytest.raises(ValueError, match="no image of another class"):
        threshold_at(np.ones(3), np.ones(3, dtype=bool), 0.001)
    with pytest.raises(ValueError, match="0 of 3 images are of the positive class"):
        rates_at(np.ones(3), np.zeros(3, dtype=bool), 0.5)
    with pytest.raises(ValueError, match="3 of 3 images are of the positive class"):
        rates_at(np.ones(3), np.ones(3, dtype=bool), 0.5)
