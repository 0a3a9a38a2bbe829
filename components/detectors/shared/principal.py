"""The origin and the two subspaces of ViM (Wang et al. 2022, arXiv 2203.10807): principal and residual."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from components.detectors.shared.protocol import Head, Sample
from components.detectors.shared.reading import checked, require_images

ROWS = 1024  # rows per matrix product: 8 KiB per feature, enough for full speed


def origin(head: Head) -> Tensor:
    """Compute o = -pinv(W) b, float64 [F]: the minimum-norm point that minimises the norm of the logits."""
    return -torch.linalg.pinv(head.weight.double()) @ head.bias_or_zero().double()


def check_dimension(dimension: int | None) -> None:
    """Raise ValueError for a dimension below 1."""
    if dimension is not None and dimension < 1:
        raise ValueError(f"dimension: {dimension} is not allowed: at least 1, or null for the paper's rule")


def principal_dimension(features: int) -> int:
    """Return D for F ``features`` by the paper's rule, as completed by the authors' code: 1000, 512, or half of F."""
    if features >= 2048:
        return 1000
    return 512 if features >= 768 else features // 2


def residual_space(batches: Iterable[Sample], head: Head, dimension: int | None, name: str) -> Tensor:
    """Compute R float64 [F, F - D]: the eigenvectors of sum (x - o)(x - o)^T without those of the D largest eigenvalues.

    Iterates once. ValueError if D leaves no direction, or only directions in which the training features have no extent.
    """
    features = head.num_features
    num_dims = principal_dimension(features) if dimension is None else dimension
    if not 0 < num_dims < features:
        rule = principal_dimension(features)
        raise ValueError(
            f"{name}: a principal space of dimension {num_dims} leaves no null space: the features have {features} dimensions; "
            f"choose 1 to {features - 1} (the paper's rule gives {rule})"
        )
    moment = _second_moment(batches, head, name)
    values, vectors = torch.linalg.eigh(moment)  # ascending
    rank = int((values > features * torch.finfo(torch.float64).eps * values[-1]).sum())
    if rank <= num_dims:
        raise ValueError(
            f"{name}: the training features span {rank} dimensions only, so that a principal space of dimension {num_dims} "
            f"leaves a residual of 0; choose a dimension below {rank}"
        )
    return vectors[:, : features - num_dims]


def residual_norm(features: Tensor, origin: Tensor, space: Tensor) -> Tensor:
    """Compute ||R^T (x - o)||, [n], in the dtype of the features [n, F]."""
    return torch.linalg.vector_norm((features - origin.to(features)) @ space.to(features), dim=1)


def _second_moment(batches: Iterable[Sample], head: Head, name: str) -> Tensor:
    """Compute sum (x - o)(x - o)^T, float64 [F, F]; not centred: the mean of the features is a principal direction too."""
    moment = torch.zeros(head.num_features, head.num_features, dtype=torch.float64)
    count = 0
    for rows in _shifted(checked(batches, head, name), head):
        moment = moment.to(rows.device).add_(_square(rows))
        count += rows.shape[0]
    require_images(count, head, name)
    return moment


def _shifted(batches: Iterable[Sample], head: Head) -> Iterator[Tensor]:
    """Yield x - o, float64 [ROWS, F] (fewer at the end), for any batch size. The buffer is reused.

    Measured: a new buffer per batch costs up to a quarter of the time of the products.
    """
    point, filled = origin(head), 0
    rows = point.new_empty(ROWS, head.num_features)
    for features, _, _ in batches:
        point, rows = point.to(features.device), rows.to(features.device)
        for part in features.tensor_split(tuple(range(ROWS - filled, features.shape[0], ROWS))):
            rows[filled : filled + part.shape[0]].copy_(part).sub_(point)
            filled += part.shape[0]
            if filled == ROWS:
                yield rows
                filled = 0
    if filled:
        yield rows[:filled]


def _square(rows: Tensor) -> Tensor:
    """Compute Z^T Z of Z [n, F]. NumPy detects the symmetry and computes one half (BLAS syrk); torch computes both."""
    if rows.device.type != "cpu":
        return rows.T @ rows
    array = rows.numpy()
    return torch.from_numpy(array.T @ array)
