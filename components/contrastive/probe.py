"""Linear probe (Radford et al. 2021, appendix A.3): a logistic regression on the features of the frozen image tower."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

STRENGTHS = tuple(10.0**power for power in range(-6, 7))  # C: the inverse of the regularisation, over the paper's range
ITERATIONS = 1000  # of L-BFGS, the paper's


@dataclass(frozen=True)
class Features:
    """``rows`` float [N, F] and their classes, int64 [N]."""

    rows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Probe:
    """``strength``: the chosen C; ``validation``: accuracy on that split; ``right`` bool [N]: of the scored images."""

    strength: float
    validation: float
    right: np.ndarray


def linear_probe(train: Features, validation: Features, scored: Features) -> Probe:
    """Fit on ``train``, choose C on ``validation`` (of equals the smallest) and classify ``scored``.

    ValueError if the training images are of one class.
    """
    from threadpoolctl import threadpool_limits

    if len(np.unique(train.labels)) < 2:
        raise ValueError("the training images are of one class")
    with threadpool_limits(1):  # small products: threads would cost more than they save, and decide the last digits
        fits = [(strength, _fit(train, strength)) for strength in STRENGTHS]
    accuracies = [float((fit.predict(validation.rows) == validation.labels).mean()) for _, fit in fits]
    best = int(np.argmax(accuracies))
    strength, fit = fits[best]
    return Probe(strength, accuracies[best], fit.predict(scored.rows) == scored.labels)


def _fit(train: Features, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a weak regularisation of separable classes has no optimum
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(train.rows, train.labels)
