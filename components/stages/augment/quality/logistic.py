"""Multinomial logistic regression, and its probabilities for pictures that it was not fitted on."""

from __future__ import annotations

import numpy as np

RIDGE = 1.0
STEPS = 30
FOLDS = 5


def out_of_sample(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return float64 [N, K]: each picture's probabilities by a model of the other four folds, stratified by class.

    ``features`` [N, D] standardised, ``labels`` int64 [N] in 0..K-1. The folds follow the order of the rows.
    """
    folds = np.zeros(len(labels), dtype=np.int64)
    for label in range(num_classes):
        rows = np.flatnonzero(labels == label)
        folds[rows] = (np.arange(len(rows)) + label) % FOLDS
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    result = np.zeros((len(labels), num_classes))
    for fold in range(FOLDS):
        inside = folds != fold
        weights = fit(inputs[inside], np.eye(num_classes)[labels[inside]])
        result[~inside] = softmax(inputs[~inside] @ weights)
    return result


def fit(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Fit weights [D, K] to one-hot targets [n, K] by 30 steps of Newton's method with a fixed bound for the Hessian.

    Böhning (1992), "Multinomial Logistic Regression Algorithm": the Hessian is at most half of X'X in each class, so that every
    step with the bound in its place raises the likelihood, and one inverse serves all.
    """
    bound = 0.5 * inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1])
    step = np.linalg.solve(bound, inputs.T)
    shrink = np.linalg.solve(bound, RIDGE * np.eye(inputs.shape[1]))
    weights = np.zeros((inputs.shape[1], targets.shape[1]))
    for _ in range(STEPS):
        weights += step @ (targets - softmax(inputs @ weights)) - shrink @ weights
    return weights


def softmax(scores: np.ndarray) -> np.ndarray:
    """Normalise the exponentials of scores [n, K]."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    normalised: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalised
