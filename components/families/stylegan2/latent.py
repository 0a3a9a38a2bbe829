"""Figures of the latent space W (arXiv 1812.04948, section 4): path length and linear separability, by a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components.families.stylegan2.sheets import labels_in_turn

if TYPE_CHECKING:
    from components.families.stylegan2.evaluation import Settings

EPSILON = 1 / 16  # share of a path: images are whole pixels, which the paper's 1e-4 would not change
LEAST, CLASS_LEAST = 100, 10  # samples for the separability, and of a class


def path_length(served: Any, classifier: Any, settings: Settings) -> float:
    """Mean squared feature distance of images ``EPSILON`` of a path in W apart, over EPSILON^2 (eq. 3)."""
    number = min(settings.samples, 1000) // 2
    styles = served.styles(2 * number, seed=settings.seed + 1, label=labels_in_turn(served, 2 * number))
    share = np.random.default_rng(settings.seed).random((number, 1), dtype=np.float32) * (1 - EPSILON)
    first, second = styles[:number], styles[number:]
    ends = [first + (share + step) * (second - first) for step in (0.0, EPSILON)]
    features = [classifier.scores(served.synthesise(served.repeated(end), noise="none"))["features"] for end in ends]
    return float(np.square(features[0].astype(np.float64) - features[1]).sum(1).mean() / EPSILON**2)


def separability(served: Any, judged: np.ndarray, settings: Settings) -> float | None:
    """exp H(class | prediction from w): 1 if a linear classifier of w tells the judged classes of the samples (section 4.2).

    It is fitted on half of the samples; the entropy is that of the other half, in nats. None for too few samples, or if they
    are of one class.
    """
    from sklearn.linear_model import LogisticRegression

    styles = served.styles(len(judged), seed=settings.seed, label=labels_in_turn(served, len(judged)))
    common = [k for k, count in enumerate(np.bincount(judged)) if count >= CLASS_LEAST]
    chosen = np.isin(judged, common)
    styles, label = styles[chosen], judged[chosen]
    half = len(label) // 2
    if len(label) < LEAST or len(np.unique(label[:half])) < 2:
        return None
    fitted = LogisticRegression(max_iter=500).fit(styles[:half], label[:half])
    predicted, truth = fitted.predict(styles[half:]), label[half:]
    entropy = 0.0
    for value in np.unique(predicted):
        shares = np.bincount(truth[predicted == value]) / (predicted == value).sum()
        entropy -= float((predicted == value).mean() * (shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return float(np.exp(entropy))
