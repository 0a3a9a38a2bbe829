"""Several domains in one network: which output is meant, the labels of several data sets in one vector, and their losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def of_domain(outputs: Tensor, domain: Tensor) -> Tensor:
    """outputs [N, K, ...] for all domains, domain int64 [N] in 0..K-1 -> [N, ...], each image's: StarGAN v2's D_y, F_y, E_y.

    The gradient reaches the head of that domain alone.
    """
    return outputs[torch.arange(outputs.shape[0], device=outputs.device), domain]


def pairs_of_a_domain(domain: Tensor, num_domains: int) -> tuple[Tensor, Tensor]:
    """Indices int64 [B] and [B] of pairs of images that share their domain, in a batch of 2 B, ``domain`` int64 [2 B].

    The batch is balanced: each K = ``num_domains`` images in turn hold every domain once. Pairs are made within 2 K images,
    domain 0 first: so they are the same whether one process has all rows or each has a multiple of 2 K.
    """
    start = torch.arange(0, len(domain), 2 * num_domains, device=domain.device)
    order = domain.view(-1, 2 * num_domains).argsort(dim=1, stable=True) + start[:, None]
    first, second = order.view(-1, 2).unbind(1)
    return first, second


def label_vector(labels: Tensor, dataset: int, num_labels: Sequence[int]) -> Tensor:
    """[c_1, ..., c_n, m] (Choi et al. 2018, arXiv 1711.09020, eq. 7): c of ``dataset`` known, others 0, m one-hot of it.

    labels [N, num_labels[dataset]], one-hot or attributes 0 and 1 -> float32 [N, sum(num_labels) + n]; one data set has no m.
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
    """The columns of [N, >= sum(num_labels)] that belong to ``dataset``, a view: what its images can be classified by."""
    start = sum(num_labels[:dataset])
    return numbers[:, start : start + num_labels[dataset]]


def attribute_loss(logits: Tensor, attributes: Tensor) -> Tensor:
    """-E log D_cls(c | x) (arXiv 1711.09020, eq. 2 and 3) of independent attributes: summed over them, mean over images.

    logits [N, K], attributes 0 and 1 [N, K].
    """
    errors = F.binary_cross_entropy_with_logits(logits, attributes.to(logits.dtype), reduction="none")
    return errors.sum(1).mean()


def category_loss(logits: Tensor, category: Tensor) -> Tensor:
    """The same of exclusive domains: cross-entropy; logits [N, K], category int64 [N]."""
    return F.cross_entropy(logits, category)
