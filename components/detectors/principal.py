"""The origin and the two subspaces of ViM (Wang et al. 2022, arXiv 2203.10807): principal and residual."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from components.detectors.protocol import Head, Sample
from components.detectors.reading import checked, demand_images

BLOCK = 128  # columns at a time: of a symmetric matrix, what lies below the diagonal need not be computed


def origin(head: Head) -> Tensor:
    """o = -pinv(W) b, float64 [F]: the point nearest to 0 where all logits are 0 (or as near to 0 as they get)."""
    return -torch.linalg.pinv(head.weight.double()) @ head.bias_or_zero().double()


def check_dimension(dimension: int | None) -> None:
    """ValueError where no feature space could have a principal space of this dimension."""
    if dimension is not None and dimension < 1:
        raise ValueError(f"dimension: {dimension} is not allowed: at least 1, or null for the paper's rule")


def principal_dimension(features: int) -> int:
    """D for F ``features`` by the paper's rule, as the authors' code completes it: 1000, 512, or half of F."""
    if features >= 2048:
        return 1000
    return 512 if features >= 768 else features // 2


def residual_space(batches: Iterable[Sample], head: Head, dimension: int | None, name: str) -> Tensor:
    """R float64 [F, F - D]: the eigenvectors of sum (x - o)(x - o)^T but for the D largest eigenvalues. Reads once.

    ValueError where D leaves no direction, or only directions in which the training features do not reach at all.
    """
    features = head.num_features
    chosen = principal_dimension(features) if dimension is None else dimension
    if not 0 < chosen < features:
        rule = principal_dimension(features)
        raise ValueError(
            f"{name}: a principal space of dimension {chosen} leaves no null space: the features have {features} dimensions; "
            f"choose 1 to {features - 1} (the paper's rule gives {rule})"
        )
    moment = _second_moment(batches, head, name)
    values, vectors = torch.linalg.eigh(moment)  # ascending
    rank = int((values > features * torch.finfo(torch.float64).eps * values[-1]).sum())
    if rank <= chosen:
        raise ValueError(
            f"{name}: the training features span {rank} dimensions only, so that a principal space of dimension {chosen} "
            f"leaves a residual of 0; choose a dimension below {rank}"
        )
    return vectors[:, : features - chosen]


def residual_norm(features: Tensor, origin: Tensor, space: Tensor) -> Tensor:
    """||R^T (x - o)||, [n], in the dtype of the features [n, F]."""
    return torch.linalg.vector_norm((features - origin.to(features)) @ space.to(features), dim=1)


def _second_moment(batches: Iterable[Sample], head: Head, name: str) -> Tensor:
    """sum (x - o)(x - o)^T, float64 [F, F]; not centred: the mean of the features is a principal direction too."""
    centre = origin(head)
    moment = torch.zeros(head.num_features, head.num_features, dtype=torch.float64)
    count = 0
    for features, _, _ in checked(batches, head, name):
        centre, moment = centre.to(features.device), moment.to(features.device)
        shifted = features.double() - centre
        for start in range(0, head.num_features, BLOCK):
            columns = shifted[:, start : start + BLOCK]
            moment[start : start + BLOCK, start:].addmm_(columns.T, shifted[:, start:])
        count += features.shape[0]
    demand_images(count, head, name)
    return moment.triu() + moment.triu(1).T
