"""Read a view: its facts, its arrays, and batches in order. ``stages/augment/write.py`` documents the files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from components.core.batch import KEYS, Batch, ViewFacts, to_unit_range
from components.serving.text import BYTES, FILE, Tokeniser
from components.stages.views.draws import box_limits
from components.stages.views.frames import Arrays, centre_crop

BOXES = ("boxes", "box_label", "box_mask")
ANNOTATED = ("labels", "box_label")  # have class names, but are not columns


@dataclass(frozen=True)
class Captions:
    """All captions of a split: image i has those from ``start[i]`` to ``start[i + 1]`` - 1.

    ``tokens`` [captions, T]: uint8 of bytes, else uint16.
    """

    tokens: np.ndarray
    start: np.ndarray

    def first(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return int64 [n, T], the first caption of each image."""
        return self.tokens[self.start[:-1][rows]].astype(np.int64)

    def drawn(self, rows: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Return int64 [n, T], one caption per image, selected by uniforms [n] in [0, 1)."""
        start, end = self.start[rows], self.start[rows + 1]
        return self.tokens[start + (uniforms * (end - start)).astype(np.int64)].astype(np.int64)


@dataclass(frozen=True)
class SplitArrays:
    """One split. ``moving``: ``image`` uint8 [N, H, W, C] as stored, memory mapped read-only, with its mask and boxes;

    ``columns``: int64 [N]; ``labels``: float32 [N, K] or None; ``captions``: None if the view has no tokens.
    """

    moving: Arrays
    columns: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    captions: Captions | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def images(self) -> np.ndarray:
        """uint8 [N, H, W, C] as stored."""
        return self.moving["image"]

    @property
    def keys(self) -> tuple[str, ...]:
        """Available keys of the batch contract, the image first."""
        names = [*self.moving, *(column for column in self.columns if column in KEYS)]
        return (*names, *(["labels"] if self.labels is not None else []), *(["tokens"] if self.captions else []))


@dataclass(frozen=True)
class View:
    """A view on disk. It is pickled as its path; each process opens the arrays itself."""

    folder: Path
    facts: ViewFacts

    def split(self, name: str) -> SplitArrays:
        """Open the arrays of "train", "validation" or "test"; ValueError names the splits that the view has."""
        self._require(name)
        facts = self.facts
        names = ["image", *(["image_mask"] if facts.masked else []), *(BOXES if facts.max_boxes else ())]
        moving = {key: self._load(name, key, "r").view(np.ndarray) for key in names}  # plain arrays: indexing costs a third
        columns = {column: self._load(name, column) for column in facts.classes if column not in ANNOTATED}
        labels = self._load(name, "labels") if "labels" in facts.classes else None
        texts = facts.context_length > 0
        captions = Captions(self._load(name, "tokens", "r"), self._load(name, "token_start")) if texts else None
        return SplitArrays(moving, columns, labels, captions)

    def _load(self, split: str, name: str, mode: Literal["r"] | None = None) -> np.ndarray:
        array: np.ndarray = np.load(self.folder / f"{split}.{name}.npy", mmap_mode=mode, allow_pickle=False)
        return array

    def texts(self, name: str) -> list[Any]:
        """Read the caption, or the list of captions, of each image of a split; ValueError if there are none."""
        self._require(name)
        path = self.folder / f"{name}.text.json"
        if not path.is_file():
            raise ValueError(f"view {self.facts.name!r} has no texts")
        texts: list[Any] = json.loads(path.read_text(encoding="utf-8"))
        return texts

    @property
    def tokeniser(self) -> Tokeniser:
        """Tokeniser of the view's captions; ValueError for a view without tokens."""
        if not self.facts.context_length:
            raise ValueError(f"view {self.facts.name!r} has no tokens: its block needs text")
        path = self.folder / FILE
        return Tokeniser.read(path) if path.is_file() else Tokeniser(BYTES, self.facts.context_length)

    @cached_property
    def policy(self) -> dict[str, Any] | None:
        """Augmentation policy as albumentations' dict, or None."""
        policy: dict[str, Any] | None = json.loads((self.folder / "policy.json").read_text(encoding="utf-8"))
        return policy

    def batches(
        self,
        split: str,
        batch_size: int,
        columns: Sequence[str] | None = None,
        *,
        pixels: bool = False,
        rows: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        """Iterate over the split in order, without augmentation: ``image`` and ``columns`` (default: all keys of the contract).

        ``rows``: int64 [n], only these rows of the split, in this order.

        ``image`` is float32 [n, C, H, W] in [-1, 1], or with ``pixels`` uint8 [n, H, W, C], as a server receives it. Larger
        stored images are centre-cropped; the first of several captions is used. The last batch may be smaller.
        ValueError for a split or column that the view does not have.
        """
        arrays = self.split(split)
        chosen = arrays.keys if columns is None else ("image", *columns)
        for column in chosen:
            if column not in (*arrays.keys, *arrays.columns):
                known = ", ".join(dict.fromkeys([*arrays.columns, *arrays.keys[1:]]))
                raise ValueError(f"view {self.facts.name!r} has no column {column!r}; it has {known}")
        parts = [slice(start, start + batch_size) for start in range(0, len(arrays) if rows is None else len(rows), batch_size)]
        return self._batches(arrays, parts if rows is None else [rows[part] for part in parts], chosen, pixels)

    def _batches(
        self, arrays: SplitArrays, parts: Sequence[slice | np.ndarray], chosen: Sequence[str], pixels: bool
    ) -> Iterator[Batch]:
        limits = box_limits(self.policy) if self.facts.max_boxes else None
        size = (self.facts.height, self.facts.width)
        needed = [name for name in arrays.moving if name in chosen or (name in BOXES and set(BOXES) & set(chosen))]
        for part in parts:
            data = centre_crop({name: arrays.moving[name][part] for name in needed}, size, limits)
            data |= {name: column[part] for name, column in arrays.columns.items()}
            if arrays.labels is not None:
                data["labels"] = arrays.labels[part]
            if arrays.captions is not None:
                data["tokens"] = arrays.captions.first(part)
            batch = {name: torch.from_numpy(np.array(data[name])) for name in chosen}
            yield batch if pixels else batch | {"image": to_unit_range(batch["image"])}

    def _require(self, split: str) -> None:
        if split not in self.facts.counts:
            raise ValueError(f"view {self.facts.name!r} has no split {split!r}; it has {', '.join(self.facts.counts)}")


def open_view(folder: Path | str) -> View:
    """Open the view in ``folder``; ValueError if there is none."""
    folder = Path(folder)
    path = folder / "view.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no view there; python -m components.stages.augment <view> makes it")
    stored = json.loads(path.read_text(encoding="utf-8"))
    facts = {field.name: stored[field.name] for field in fields(ViewFacts) if field.name in stored}
    facts["image_size"] = size if isinstance(size := facts["image_size"], int) else tuple(size)
    facts["classes"] = {column: tuple(names) for column, names in facts["classes"].items()}
    facts["mean"], facts["std"] = tuple(facts["mean"]), tuple(facts["std"])
    facts["counts"] = {split: facts["counts"][split] for split in ("train", "validation", "test") if split in facts["counts"]}
    return View(folder, ViewFacts(**facts))
