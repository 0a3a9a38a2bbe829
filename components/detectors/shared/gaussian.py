"""Class-conditional Gaussians with a shared covariance: streaming moments and whitened distances."""

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
    """Counts [C] and mean features [C, F] per true class, and the scatter [F, F] about these means, float64."""

    counts: Tensor
    means: Tensor
    scatter: Tensor

    def total(self) -> tuple[Tensor, Tensor]:
        """Return the mean [F] of all images and the total scatter [F, F]: within-class plus between-class."""
        mean = self.counts @ self.means / self.counts.sum()
        offsets = self.means - mean
        return mean, self.scatter + (self.counts[:, None] * offsets).T @ offsets

    def power(self) -> Tensor:
        """Return the mean of ||x||^2 over the images."""
        return (self.scatter.trace() + self.counts @ self.means.square().sum(1)) / self.counts.sum()


def class_moments(batches: Iterable[Sample], head: Head, name: str) -> ClassMoments:
    """Compute the moments in one pass (Chan et al. 1983, numerically stable). Classes without images are dropped."""
    classes, features = head.num_classes, head.num_features
    moments = ClassMoments(torch.zeros(classes).double(), torch.zeros(classes, features).double(), torch.zeros(()).double())
    for batch, _, labels in checked(batches, head, name):
        moments = _merge(moments, batch.double(), F.one_hot(labels, classes).double())
    require_images(int(moments.counts.sum()), head, name)
    seen = moments.counts > 0
    return ClassMoments(moments.counts[seen], moments.means[seen], moments.scatter)


def _merge(old: ClassMoments, batch: Tensor, member: Tensor) -> ClassMoments:
    """Merge ``batch`` [n, F] into the moments; ``member`` [n, C] is the one-hot class of each image."""
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
    """Compute A [F, r] with A A^T the pseudo-inverse of ``covariance`` [F, F] of rank r; ``power``: the mean of ||x||^2.

    Directions without variance (units that never fire) are dropped, as in a pseudo-inverse, and so are directions whose
    variance is float32 rounding noise: layer normalisation leaves such a direction, and its tiny variance would dominate the
    distances.
    """
    values, vectors = torch.linalg.eigh(covariance)
    computed = covariance.shape[0] * torch.finfo(covariance.dtype).eps * values[-1]
    rounded = torch.finfo(torch.float32).eps ** 2 * power
    used = values > torch.maximum(computed, rounded)
    return vectors[:, used] / values[used].sqrt()


def nearest_squared_distance(points: Tensor, means: Tensor) -> Tensor:
    """Compute min_c ||points - means_c||^2, [n], for whitened points [n, r] and means [C, r].

    The nearest mean is determined by a matrix product, in memory [n, C], and its distance directly, which avoids cancellation
    in float32.
    """
    nearest = (means.square().sum(1) - 2 * points @ means.T).argmin(1)
    return (points - means[nearest]).square().sum(1)
