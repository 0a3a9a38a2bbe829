"""Splits that differ are told apart; random ones, other shares of classes and small ones are not."""

import hashlib

import numpy as np
import pytest

from components.stages.augment.quality.splits import APART, LEAST, told_apart
from components.stages.augment.quality.thumbnails import thumbnails


@pytest.fixture
def discs():
    """Small and large discs with noise: images uint8 [300, 24, 24, 1], labels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    labels = np.arange(300) % 2
    images = np.stack([np.roll(x**2 + y**2 < 30 + 50 * label, rng.integers(-2, 3, 2), (0, 1)) * 180.0 for label in labels])
    return np.clip(images + rng.normal(30, 15, images.shape), 0, 255).astype(np.uint8)[..., None], labels


def apart(images, labels, **splits):
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return told_apart(thumbnails(images), labels, digests, {name: np.asarray(rows) for name, rows in splits.items()})


def test_a_border_that_only_one_split_has_is_seen_and_a_random_split_is_not(discs):
    images, labels = discs
    order = np.random.default_rng(1).permutation(300)
    found = apart(images, labels, train=order[:150], validation=order[150:200], test=order[200:])
    assert set(found) == {"validation", "test"}
    assert max(found.values()) < 0.7 < APART
    framed = images.copy()
    framed[order[200:], :2] = 255
    found = apart(framed, labels, train=order[:150], validation=order[150:200], test=order[200:])
    assert found["test"] > 0.95
    assert found["validation"] < 0.7


def test_other_shares_of_the_classes_are_no_other_pictures(discs):
    """A split of nine large discs to one small beside one of as many of each: compared class by class."""
    images, labels = discs
    order = np.random.default_rng(1).permutation(300)
    train, rest = order[:150], order[150:]
    test = [*rest[labels[rest] == 1], *rest[labels[rest] == 0][:25]]
    assert apart(images, labels, train=train, test=test)["test"] < 0.7
    assert apart(images, labels, train=np.flatnonzero(labels == 0), test=np.flatnonzero(labels == 1)) == {}, "no class in both"


def test_nothing_is_said_of_few_pictures(discs):
    images, labels = discs
    assert apart(images, labels, train=range(200), test=range(200, 200 + LEAST - 2)) == {}
    assert set(apart(images, labels, train=range(200), test=range(200, 200 + LEAST))) == {"test"}
