"""Validation of the samples that detectors are fitted on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from components.detectors.shared.protocol import Head, Sample


def checked(batches: Iterable[Sample], head: Head, name: str) -> Iterator[Sample]:
    """Yield the batches in their own dtype; ValueError names the first that does not match the head or is not finite."""
    count = 0
    for index, (features, logits, labels) in enumerate(batches):
        where = f"{name}: batch {index} (from 0)"
        _check_shapes(features, logits, labels, head, where)
        _check_finite(features, f"{where}: the features")
        _check_finite(logits, f"{where}: the logits")
        count += labels.shape[0]
        if labels.shape[0]:
            yield features.detach(), logits.detach(), labels
    if not count:
        raise ValueError(f"{name}: no image to fit on; the batches are empty")


def rereadable(batches: Iterable[Sample], name: str) -> Iterable[Sample]:
    """Return the batches if they can be iterated more than once; ValueError for a generator."""
    if iter(batches) is batches:
        raise ValueError(f"{name} reads the batches more than once: pass a list, or an object whose __iter__ starts again")
    return batches


def require_classes(head: Head, name: str, why: str) -> None:
    """Raise ValueError for a classifier of one class, whose score would be constant."""
    if head.num_classes < 2:
        raise ValueError(f"{name}: the classifier has one class, so {why}; use knn, mahalanobis or residual")


def require_images(count: int, head: Head, name: str) -> None:
    """Raise ValueError if a second moment of ``count`` images cannot have full rank."""
    if count < head.num_features:
        raise ValueError(
            f"{name}: {count} images are fewer than the {head.num_features} dimensions of the features, too few to tell which "
            f"directions are unused; fit on at least {head.num_features} images, or use knn"
        )


def _check_shapes(features: Tensor, logits: Tensor, labels: Tensor, head: Head, where: str) -> None:
    rows, classes = labels.shape[0], head.num_classes
    expected = [rows, head.num_features], [rows, classes], [rows]
    actual = list(features.shape), list(logits.shape), list(labels.shape)
    if actual != tuple(expected):
        raise ValueError(f"{where}: features, logits, labels have shapes {actual}; the head wants {tuple(expected)}")
    if rows and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        label_range = f"labels from {int(labels.min())} to {int(labels.max())}"
        raise ValueError(f"{where}: {label_range}; the head has classes 0 to {classes - 1}")


def _check_finite(values: Tensor, what: str) -> None:
    # A sum is finite only if every term is; the slower test runs only if the sum is not (or overflows).
    if not torch.isfinite(values.sum()) and not torch.isfinite(values).all():
        row = int((~torch.isfinite(values)).any(1).nonzero()[0])
        raise ValueError(f"{what} of row {row} are not finite; find the image or the layer that makes them so")
