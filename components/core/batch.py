"""The contract between data and recipes: what a batch holds, what a view tells of itself, how a recipe asks for batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Key:
    """One batch key: dtype, shape (letters are sizes that must agree across keys), range or meaning, and who writes it."""

    dtype: torch.dtype
    shape: str
    doc: str


KEYS: dict[str, Key] = {
    "image": Key(torch.float32, "N C H W", "pixels in [-1, 1]; written by augment.views"),
    "image_mask": Key(torch.bool, "N H W", "True where the image is, where images are padded; written by augment.views"),
    "label": Key(torch.int64, "N", "class index; written by augment.views"),
    "domain": Key(torch.int64, "N", "domain index; written by augment.views"),
    "boxes": Key(torch.float32, "N M 4", "(cx, cy, w, h), relative to the image; written by augment.views"),
    "box_mask": Key(torch.bool, "N M", "True where a box is; written by augment.views"),
    "tokens": Key(torch.int64, "N T", "token indices of a caption; written by the recipe's tokeniser"),
}


def check(batch: Batch) -> None:
    """Raise ValueError where ``batch`` breaks the contract: unknown key, dtype, rank, or sizes that do not agree."""
    sizes: dict[str, int] = {}
    for name, tensor in batch.items():
        if name not in KEYS:
            raise ValueError(f"batch key {name!r} is not in the contract; allowed: {', '.join(KEYS)}")
        key = KEYS[name]
        letters = key.shape.split()
        if tensor.dtype != key.dtype or tensor.dim() != len(letters):
            found = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"batch[{name!r}] is {found}, the contract says {key.dtype} [{key.shape}]")
        for letter, size in zip(letters, tensor.shape, strict=True):
            if not letter.isdigit() and sizes.setdefault(letter, size) != size:
                raise ValueError(f"batch[{name!r}] has {letter}={size}, another key has {letter}={sizes[letter]}")


def to_unit_range(pixels: Tensor) -> Tensor:
    """uint8 [N, H, W, C] in 0..255 -> float32 [N, C, H, W] in [-1, 1]. The result is a channels_last tensor without a copy."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0)


def to_pixels(image: Tensor) -> np.ndarray:
    """The inverse of ``to_unit_range``, exact for its values: float32 [N, C, H, W] in [-1, 1] -> uint8 array [N, H, W, C]."""
    return image.permute(0, 2, 3, 1).add(1.0).mul(127.5).round().to(torch.uint8).cpu().numpy()


def pixels_of(batch: Batch) -> np.ndarray:
    """The images of a batch as a server gets them: uint8 array [N, H, W, C].

    Accepts both forms of ``image``: uint8 [N, H, W, C], which is returned as it is, and float32 [N, C, H, W] in [-1, 1].
    """
    image = batch["image"]
    return image.cpu().numpy() if image.dtype == torch.uint8 else to_pixels(image)


@dataclass(frozen=True)
class ViewFacts:
    """What follows from the data: read from view.json, never from params.yaml.

    ``classes``: label column -> names in index order ("label" and any other, such as "font"); ``mean`` and ``std`` a channel,
    of the training images in [-1, 1]; ``counts``: split -> number of images; ``digest``: SHA-256 of the arrays.
    """

    name: str
    image_size: int
    channels: int
    classes: dict[str, tuple[str, ...]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: dict[str, int]
    digest: str


@dataclass(frozen=True)
class Split:
    """A split of a view in its order, without augmentation: what an evaluation goes through. Iterate it once."""

    facts: ViewFacts
    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


@dataclass(frozen=True)
class Stream:
    """How a recipe asks for batches: ``view`` is a role ("main", or the role of a train link to a view).

    ``batch_size`` counts images of the global batch, over all processes. ``sampler``: "shuffle" goes through a new permutation
    every epoch and drops nothing; "balanced" draws the classes of the column ``by`` equally often.
    """

    view: str
    batch_size: int
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    by: str = "label"
    split: str = "train"
