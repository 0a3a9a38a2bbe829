"""Labels of StarGAN's data sets: exclusive domains, or attributes of which an image has any number (CelebA)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.adversarial.domains import label_vector
from components.adversarial.losses import attribute_loss, category_loss
from components.core.batch import Batch, Stream, ViewFacts
from components.translation.interface import domains_of


@dataclass(frozen=True)
class Labels:
    """Labels of one data set. ``several``: an image has each of ``names`` or not, else it is of exactly one of them."""

    names: tuple[str, ...]
    several: bool

    @classmethod
    def of(cls, view: ViewFacts) -> Labels:
        """Read the view's column ``domain``, or the several ``labels`` of a view without one; ValueError if it has neither."""
        if "labels" in view.classes and "domain" not in view.classes:
            return cls(view.classes["labels"], several=True)
        return cls(domains_of(view), several=False)

    @property
    def column(self) -> str:
        """Key of a batch."""
        return "labels" if self.several else "domain"

    def stream(self, view: str, batch_size: int) -> Stream:
        """Request batches: domains equally often, attributes as they come."""
        if self.several:
            return Stream(view=view, batch_size=batch_size)
        return Stream(view=view, batch_size=batch_size, sampler="balanced", by="domain")

    def read(self, batch: Batch) -> Tensor:
        """Return the labels of a batch: domain int64 [N], or attributes float32 [N, K]."""
        return batch[self.column]

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Classification loss (eq. 2 and 3) of logits [N, K]."""
        return attribute_loss(logits, labels) if self.several else category_loss(logits, labels)


def label_table(num_labels: tuple[int, ...]) -> Tensor:
    """Row k: the label vector of the k-th of all domains, float32 [sum(num_labels), label_dim]."""
    return torch.cat([label_vector(torch.eye(count), index, num_labels) for index, count in enumerate(num_labels)])
