"""Metrics of a classifier from logits [N, K] and labels [N]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_IMAGES = 5  # of a class: the accuracy on fewer is no figure, one image moves it by a quarter or more
CHUNK = 2**24  # logits that are handled at once: the figures of a row need no other row
ORDER = ("accuracy", "top5_accuracy", "worst_class_accuracy", "calibration_error", "negative_log_likelihood")


@dataclass(frozen=True)
class Summary:
    """``figures`` by name; [K] ``per_class`` accuracy (NaN for a class without images), ``support``; [K, K] ``confusion``.

    A figure that would mean nothing is left out: the top-5 accuracy of five classes or fewer, which is 1 whatever is predicted,
    and the worst class if no class has ``MIN_IMAGES`` images. ``items``: float64 [N], one value per image, whose mean is the
    figure of that name.
    """

    figures: dict[str, float]
    items: dict[str, np.ndarray]
    per_class: np.ndarray
    support: np.ndarray
    confusion: np.ndarray


def summarise(logits: np.ndarray, labels: np.ndarray, bins: int) -> Summary:
    """All metrics of one set of images."""
    found = _of_images(logits, labels)
    matrix = confusion(found["predicted"], labels, logits.shape[1])
    support = matrix.sum(1)
    with np.errstate(invalid="ignore"):
        per_class = np.diag(matrix) / support
    items = {name: found[name] for name in ORDER if name in found}
    figures = {name: float(values.mean()) for name, values in items.items()}
    if (support >= MIN_IMAGES).any():
        figures["worst_class_accuracy"] = float(per_class[support >= MIN_IMAGES].min())
    figures["calibration_error"] = calibration_error(found["confidence"], found["likeliest"] == labels, bins)
    ordered = {name: figures[name] for name in ORDER if name in figures}
    return Summary(ordered, items, per_class, support, matrix)


def _of_images(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of each image [N], a part of the images at a time: thousands of classes need no copy of all logits."""
    step = max(1, CHUNK // logits.shape[1])
    parts = []
    for start in range(0, len(logits), step):
        rows, true = logits[start : start + step].astype(np.float64), labels[start : start + step]
        part = {"predicted": rows.argmax(1), "accuracy": in_top_k(rows, true, 1)}
        part |= {"top5_accuracy": in_top_k(rows, true, 5)} if logits.shape[1] > 5 else {}
        part["negative_log_likelihood"] = surprise(rows, true)
        probabilities = softmax(rows)
        parts.append(part | {"confidence": probabilities.max(1), "likeliest": probabilities.argmax(1)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, K]."""
    shifted = logits - logits.max(1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(1, keepdims=True)
    return shifted


def in_top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """[N]: 1.0 if fewer than ``k`` other classes score at least as high as the label, else 0.0: ties are errors."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    rivals = (logits >= own).sum(1) - 1
    return (rivals < k).astype(np.float64)


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts [K, K]: row the true class, column the predicted one."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Mean |accuracy - confidence| over equal bins of confidence, weighted by their images (Guo et al. 2017, eq. 3)."""
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels, bins)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """The same from the largest probability of each image, [N], and whether its class is right, bool [N]."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # bin m holds ((m-1)/M, m/M]
    gaps = np.bincount(index, weights=correct, minlength=bins) - np.bincount(index, weights=confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(correct))


def surprise(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log p(label) of each image in nats."""
    top = logits.max(1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return log_sum - logits[np.arange(len(labels)), labels]


def pooled(matrix: np.ndarray, most: int) -> np.ndarray:
    """Sum blocks of equal size of a matrix [R, C], so that at most ``most`` rows and columns remain."""
    block = -(-max(matrix.shape) // most)
    rows, columns = (np.arange(0, side, block) for side in matrix.shape)
    summed: np.ndarray = np.add.reduceat(np.add.reduceat(matrix, rows, axis=0), columns, axis=1)
    return summed
