"""Doubtful labels: planted ones are found first, right ones are not; the regression is the optimum that scikit-learn finds."""

import hashlib

import numpy as np
import pytest

from components.stages.augment.quality import label_errors, logistic
from components.stages.augment.quality.features import edge_histograms
from components.stages.augment.quality.label_errors import confident_disagreements, suspect_labels
from components.stages.augment.quality.logistic import fit, softmax
from components.stages.augment.quality.thumbnails import thumbnails


@pytest.fixture
def shapes():
    """Discs, squares and crosses with noise: images uint8 [240, 24, 24, 1], labels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] - 11.5
    masks = [x**2 + y**2 < 64, (np.abs(x) < 8) & (np.abs(y) < 8), (np.abs(x) < 3) | (np.abs(y) < 3)]
    labels = np.arange(240) % 3
    images = np.stack([np.roll(masks[label], rng.integers(-2, 3, 2), (0, 1)) * 180.0 for label in labels])
    images = np.clip(images + rng.normal(30, 15, images.shape), 0, 255).astype(np.uint8)[..., None]
    return images, labels


def digests(images):
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def test_planted_errors_are_found_with_the_right_class_and_nothing_else(shapes):
    images, labels = shapes
    wrong = labels.copy()
    planted = np.random.default_rng(0).choice(240, 4, replace=False)
    wrong[planted] = (labels[planted] + 1) % 3
    found = suspect_labels(thumbnails(images), wrong, digests(images), np.arange(240))
    assert sorted(found.rows.tolist()) == sorted(planted.tolist())
    assert found.suggested.tolist() == labels[found.rows].tolist()
    assert (found.own < found.other).all()
    assert found.accuracy > 0.9
    assert found.judged == 240


def test_the_order_of_files_changes_nothing(shapes):
    images, labels = shapes
    wrong = labels.copy()
    wrong[[7, 100]] = (labels[[7, 100]] + 1) % 3
    order = np.random.default_rng(1).permutation(240)
    first = suspect_labels(thumbnails(images), wrong, digests(images), np.arange(240))
    second = suspect_labels(thumbnails(images[order]), wrong[order], digests(images[order]), np.arange(240))
    assert order[second.rows].tolist() == first.rows.tolist()
    assert len(first.rows)


def test_no_label_is_suspected_by_features_that_do_not_tell_the_classes(shapes):
    images, _ = shapes
    labels = np.random.default_rng(0).integers(0, 3, 240)
    found = suspect_labels(thumbnails(images), labels, digests(images), np.arange(240))
    assert len(found.rows) == 0
    assert found.accuracy < 0.5
    assert "poorly" in found.reason


def test_a_class_of_few_pictures_is_not_judged_and_a_large_set_is_judged_in_part(shapes, monkeypatch):
    images, labels = shapes
    labels = labels.copy()
    labels[:4] = 3
    assert suspect_labels(thumbnails(images), labels, digests(images), np.arange(240)).judged == 236
    assert suspect_labels(thumbnails(images), labels, digests(images), np.arange(4)).reason
    assert suspect_labels(thumbnails(images), labels, digests(images), np.flatnonzero(labels < 2)).judged == 157
    five = np.where(np.arange(240) == 4, 3, labels)
    assert suspect_labels(thumbnails(images), five, digests(images), np.arange(240)).judged == 240
    monkeypatch.setattr(label_errors, "BUDGET", 300)
    assert suspect_labels(thumbnails(images), labels, digests(images), np.arange(240)).judged == 100


def test_edges_are_counted_in_eight_directions_by_their_strength():
    """Of the middle cells, which no border touches: 22.5 degrees around each of eight directions."""
    y, x = np.mgrid[:32, :32].astype(float)
    bins = {}
    for angle in range(0, 360, 5):
        slope = np.cos(np.radians(angle)) * x + np.sin(np.radians(angle)) * y
        found = edge_histograms((900 + 20 * slope)[None]).reshape(4, 4, 8)[1:3, 1:3]
        assert (found > 0).sum() == 4, "one direction in each cell"
        bins[angle] = int(found.sum((0, 1)).argmax())
    for angle, direction in bins.items():
        assert direction == bins[round(angle / 45) * 45 % 360]
    assert len(set(bins.values())) == 8
    weak, strong = np.where(x < 16, 0, 3 * x), np.where(x < 16, 10 * y, 0)
    shares = edge_histograms((weak + strong)[None])[0] ** 2
    assert shares.sum() == pytest.approx(1)
    assert shares[bins[90] + 8 * (4 + 0)] / shares[bins[0] + 8 * (4 + 3)] == pytest.approx(10 / 3, rel=0.15)


def test_the_confident_joint_of_an_example():
    """Thresholds 0.7 and 0.6: the third picture of class 0 is counted for class 1, the last for none."""
    first = np.array([0.9, 0.8, 0.35, 0.75, 0.3, 0.5, 0.4])
    probabilities = np.stack([first, 1 - first], axis=1)
    found, suggested = confident_disagreements(probabilities, np.array([0, 0, 0, 0, 1, 1, 1]))
    assert [found.tolist(), suggested.tolist()] == [[2], [1]]


def test_two_classes_that_no_feature_tells_are_fitted_in_thirty_steps():
    """The bound of the Hessian is reached there: with less the steps go too far. The gradient is 0 at the end."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(200, 3)), np.eye(2)[rng.integers(0, 2, 200)]
    weights = fit(inputs, targets)
    assert np.abs(inputs.T @ (targets - softmax(inputs @ weights)) - logistic.RIDGE * weights).max() < 1e-6


def test_the_regression_converges_to_the_optimum_of_scikit_learn(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(120, 4)), rng.integers(0, 3, 120)
    inputs[:, 0] += labels
    monkeypatch.setattr(logistic, "STEPS", 2000)
    ours = softmax(inputs @ fit(inputs, np.eye(3)[labels]))
    theirs = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(inputs, labels).predict_proba(inputs)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
