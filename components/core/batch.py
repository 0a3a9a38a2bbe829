"""The contract between data and recipes: batch keys, facts about a view, and requests for batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Key:
    """One batch key: dtype, shape (letters are sizes that must agree across keys), range or meaning."""

    dtype: torch.dtype
    shape: str
    doc: str


# A batch has each key that its view has (``components.stages.augment.write``), from the loader and from ``View.batches``.
KEYS: dict[str, Key] = {
    "image": Key(torch.float32, "N C H W", "pixels in [-1, 1]; in an evaluation uint8 [N, H, W, C]"),
    "image_mask": Key(torch.bool, "N H W", "True where the picture is, False where it was padded (fit: pad)"),
    "label": Key(torch.int64, "N", "class index"),
    "labels": Key(torch.float32, "N K", "several classes per image: the degree, 0 to 1, to which each of K applies"),
    "domain": Key(torch.int64, "N", "domain index"),
    "boxes": Key(torch.float32, "N M 4", "(cx, cy, w, h) relative to the image; the first boxes are real, the rest 0"),
    "box_label": Key(torch.int64, "N M", "class index of each box; 0 where there is none"),
    "box_mask": Key(torch.bool, "N M", "True where a box is"),
    "tokens": Key(torch.int64, "N T", "one caption per image: ids of the view's tokeniser, then padding"),
}
COLUMN = Key(torch.int64, "N", "class index of a further column")
PIXELS = Key(torch.uint8, "N H W C", "pixels as a server gets them, 0 to 255")


def check(batch: Batch, columns: Collection[str] = ()) -> None:
    """Raise ValueError if ``batch`` breaks the contract: an unknown key, a dtype, a rank, or sizes that disagree between keys.

    ``columns``: names of the additional columns, int64 [N], that the stream requested.
    """
    sizes: dict[str, int] = {}
    for name, tensor in batch.items():
        key = _key(name, tensor, columns)
        letters = key.shape.split()
        if tensor.dtype != key.dtype or tensor.dim() != len(letters):
            actual = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"batch[{name!r}] is {actual}, the contract says {key.dtype} [{key.shape}]")
        for letter, size in zip(letters, tensor.shape, strict=True):
            if letter.isdigit() and size != int(letter):
                raise ValueError(f"batch[{name!r}] is {tuple(tensor.shape)}, the contract says [{key.shape}]")
            if sizes.setdefault(letter, size) != size:
                raise ValueError(f"batch[{name!r}] has {letter}={size}, another key has {letter}={sizes[letter]}")


def _key(name: str, tensor: Tensor, columns: Collection[str]) -> Key:
    if name == "image" and tensor.dtype == torch.uint8:
        return PIXELS
    if name in KEYS:
        return KEYS[name]
    if name in columns:
        return COLUMN
    raise ValueError(f"batch key {name!r} is not in the contract; allowed: {', '.join([*KEYS, *columns])}")


def to_unit_range(pixels: Tensor) -> Tensor:
    """Convert uint8 [N, H, W, C] in 0..255 to float32 [N, C, H, W] in [-1, 1], in channels_last memory format."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0)


def to_pixels(image: Tensor) -> np.ndarray:
    """Invert ``to_unit_range`` exactly: float32 [N, C, H, W] in [-1, 1] -> uint8 array [N, H, W, C]."""
    return image.permute(0, 2, 3, 1).add(1.0).mul(127.5).round().to(torch.uint8).cpu().numpy()


def pixels_of(batch: Batch) -> np.ndarray:
    """Return the images of a batch as a server receives them: uint8 array [N, H, W, C].

    Accepts both forms of ``image``: uint8 [N, H, W, C], returned unchanged, and float32 [N, C, H, W] in [-1, 1].
    """
    image = batch["image"]
    return image.cpu().numpy() if image.dtype == torch.uint8 else to_pixels(image)


@dataclass(frozen=True)
class ViewFacts:
    """Facts about a view's data, read from view.json and never from params.yaml.

    ``image_size``: the side of square images as an int, (height, width) of others, which only recipes with
    ``takes_rectangles`` accept. This is the size in a batch; a view may store larger images.
    ``classes``: column -> names in index order ("label", "domain", any other such as "font"; "labels" and "box_label" too);
    ``mean`` and ``std``: per channel, of the training images in [-1, 1]; ``counts``: split -> number of images; ``digest``:
    SHA-256 of the arrays. ``max_boxes``: M of the batch contract, 0 if the view has no boxes; ``context_length``: T, 0 if it
    has no tokens; ``masked``: it has ``image_mask``. ``vocabulary_size``, ``start_id``, ``end_id``, ``pad_id``: of its tokens;
    the defaults are those of bytes, which have no start and end.
    """

    name: str
    image_size: Any
    channels: int
    classes: dict[str, tuple[str, ...]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: dict[str, int]
    digest: str
    max_boxes: int = 0
    context_length: int = 0
    masked: bool = False
    vocabulary_size: int = 256
    start_id: int | None = None
    end_id: int | None = None
    pad_id: int = 0

    def classes_to_tell_apart(self) -> tuple[str, ...]:
        """Names of the classes of ``label``; ValueError if a classifier has nothing to learn."""
        names = self.classes.get("label", ())
        if len(names) < 2:
            raise ValueError(f"view {self.name!r} has {len(names)} class(es) {list(names)}; a classifier needs at least 2")
        return names

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.image_size if isinstance(self.image_size, int) else self.image_size[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.image_size if isinstance(self.image_size, int) else self.image_size[1])


@dataclass(frozen=True)
class Split:
    """A split of a view in order, without augmentation, for evaluation. Iterable once.

    In the evaluate stage ``image`` is uint8 [N, H, W, C], as a server receives it: read it with ``pixels_of``.
    """

    facts: ViewFacts
    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


@dataclass(frozen=True)
class Stream:
    """A recipe's request for batches. ``view``: a role ("main", or the role of a train link to a view).

    ``batch_size`` counts images of the global batch, over all processes. ``sampler``: "shuffle" uses a new permutation every
    epoch and drops nothing; "balanced" draws the classes of the column ``by`` equally often. ``columns``: additional columns
    of the view to include in the batches under their own names, int64 [N].
    """

    view: str
    batch_size: int
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    by: str = "label"
    split: str = "train"
    columns: tuple[str, ...] = ()
