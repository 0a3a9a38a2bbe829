"""Gaussians with class means and one covariance, streamed and measured in whitened coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import checked, require_images


@dataclass
class ClassMoments:
    """Images [C], mean features [C, F] a class (by true label) and the scatter [F, F] about those means, float64."""

    counts: Tensor
    means: Tensor
    scatter: Tensor

    def total(self) -> tuple[Tensor, Tensor]:
        """The mean [F] of all images and the scatter [F, F] about it: within the classes plus between them."""
        mean = self.counts @ self.means / self.counts.sum()
        offsets = self.means - mean
        return mean, self.scatter + (self.counts[:, None] * offsets).T @ offsets

    def power(self) -> Tensor:
        """The mean of ||x||^2 over the images."""
        return (self.scatter.trace() + self.counts @ self.means.square().sum(1)) / self.counts.sum()


def class_moments(batches: Iterable[Sample], head: Head, name: str) -> ClassMoments:
    """One pass, merged batch by batch (Chan et al. 1983), which does not cancel. Classes without images are left out."""
    classes, features = head.num_classes, head.num_features
    moments = ClassMoments(torch.zeros(classes).double(), torch.zeros(classes, features).double(), torch.zeros(()).double())
    for batch, _, labels in checked(batches, head, name):
        moments = _merge(moments, batch.double(), F.one_hot(labels, classes).double())
    require_images(int(moments.counts.sum()), head, name)
    seen = moments.counts > 0
    return ClassMoments(moments.counts[seen], moments.means[seen], moments.scatter)


def _merge(old: ClassMoments, batch: Tensor, member: Tensor) -> ClassMoments:
    """The moments with ``batch`` [n, F] added; ``member`` [n, C] is 1 at the class of each image."""
    old = ClassMoments(old.counts.to(batch), old.means.to(batch), old.scatter.to(batch))
    added = member.sum(0)
    means = member.T @ batch / added.clamp(min=1)[:, None]
    centred = batch - member @ means
    counts = old.counts + added
    offsets = means - old.means
    share = (added / counts.clamp(min=1))[:, None]
    between = (old.counts[:, None] * share * offsets).T @ offsets
    return ClassMoments(counts, old.means + share * offsets, old.scatter + centred.T @ centred + between)


def whitening(covariance: Tensor, power: Tensor) -> Tensor:
    """A [F, r] with A A^T the pseudo-inverse of ``covariance`` [F, F], r its rank; ``power``: the mean of ||x||^2.

    A direction without variance, such as a unit that never fires, is left out, as a pseudo-inverse leaves it out. So is one in
    which only the rounding of float32, in which features come, moves the images: layer normalisation leaves such a direction,
    and divided by its tiny variance it would drown all others.
    """
    values, vectors = torch.linalg.eigh(covariance)
    computed = covariance.shape[0] * torch.finfo(covariance.dtype).eps * values[-1]
    rounded = torch.finfo(torch.float32).eps ** 2 * power
    used = values > torch.maximum(computed, rounded)
    return vectors[:, used] / values[used].sqrt()


def nearest_squared_distance(points: Tensor, means: Tensor) -> Tensor:
    """min_c ||points - means_c||^2, [n], of whitened points [n, r] and means [C, r].

    The nearest mean is found by products, which take memory [n, C] only, and its distance measured directly, which does not
    cancel in float32.
    """
    nearest = (means.square().sum(1) - 2 * points @ means.T).argmin(1)
    return (points - means[nearest]).square().sum(1)
