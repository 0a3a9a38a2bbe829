"""Several domains in one network: selection of one domain's output, and the labels of several data sets in one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def of_domain(outputs: Tensor, domain: Tensor) -> Tensor:
    """outputs [N, K, ...] of all domains, domain int64 [N] -> [N, ...], each image's own: StarGAN v2's D_y, F_y, E_y.

    The gradient reaches the head of that domain alone.
    """
    return outputs[torch.arange(outputs.shape[0], device=outputs.device), domain]


def pairs_of_a_domain(domain: Tensor, num_domains: int) -> tuple[Tensor, Tensor]:
    """Indices int64 [B] and [B] of pairs of images of one domain, in a balanced batch of 2 B with ``domain`` int64 [2 B].

    Each run of K = ``num_domains`` images must hold every domain once. Pairs are formed within 2 K images, domain 0 first, so
    that they are the same for one process with all rows and for several with a multiple of 2 K each.
    """
    start = torch.arange(0, len(domain), 2 * num_domains, device=domain.device)
    order = domain.view(-1, 2 * num_domains).argsort(dim=1, stable=True) + start[:, None]
    first, second = order.view(-1, 2).unbind(1)
    return first, second


def label_vector(labels: Tensor, dataset: int, num_labels: Sequence[int]) -> Tensor:
    """[c_1, ..., c_n, m] (Choi et al. 2018, arXiv 1711.09020, eq. 7): c of ``dataset`` is known, others are 0, m is one-hot.

    labels [N, num_labels[dataset]], one-hot or attributes 0 and 1 -> float32 [N, sum(num_labels) + n]; for n = 1 without m.
    """
    rows, known = labels.shape
    if known != num_labels[dataset]:
        raise ValueError(f"labels: {known} a row, but data set {dataset} has {num_labels[dataset]}")
    vector = labels.new_zeros((rows, sum(num_labels)), dtype=torch.float32)
    known_labels(vector, dataset, num_labels).copy_(labels)
    if len(num_labels) == 1:
        return vector
    mask = vector.new_zeros(rows, len(num_labels))
    mask[:, dataset] = 1
    return torch.cat([vector, mask], dim=1)


def known_labels(numbers: Tensor, dataset: int, num_labels: Sequence[int]) -> Tensor:
    """A view of the columns of [N, >= sum(num_labels)] that belong to ``dataset``: the labels its images are classified by."""
    start = sum(num_labels[:dataset])
    return numbers[:, start : start + num_labels[dataset]]
