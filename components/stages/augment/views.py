"""Reading a view back: its facts, its arrays, and batches in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.core.batch import KEYS, Batch, ViewFacts, to_unit_range


@dataclass(frozen=True)
class Arrays:
    """One split: ``images`` uint8 [N, H, W, C], memory mapped and not writable; ``columns`` int64 [N]."""

    images: np.ndarray
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class View:
    """A view on disk. It travels to other processes as its path; arrays are opened where they are used."""

    folder: Path
    facts: ViewFacts

    def split(self, name: str) -> Arrays:
        """The arrays of "train", "validation" or "test"; ValueError names the splits that the view has."""
        self._require(name)
        images = np.load(self.folder / f"{name}.image.npy", mmap_mode="r", allow_pickle=False)
        columns = {c: np.load(self.folder / f"{name}.{c}.npy", allow_pickle=False) for c in self.facts.classes}
        return Arrays(images.view(np.ndarray), columns)  # a plain array on the same memory: indexing costs a third

    def texts(self, name: str) -> list[str]:
        """The N captions of a split; ValueError if the view's dataset has none."""
        self._require(name)
        path = self.folder / f"{name}.text.json"
        if not path.is_file():
            raise ValueError(f"view {self.facts.name!r} has no texts")
        texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
        return texts

    @cached_property
    def policy(self) -> dict[str, Any] | None:
        """The augmentation policy as albumentations' dict, or None."""
        policy: dict[str, Any] | None = json.loads((self.folder / "policy.json").read_text(encoding="utf-8"))
        return policy

    def batches(self, split: str, batch_size: int, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The split in order, without augmentation: ``image`` in [-1, 1] and ``columns`` (those of the batch contract if None).

        The last batch may be smaller. ValueError for a split or column that the view does not have.
        """
        arrays = self.split(split)
        chosen = [c for c in arrays.columns if c in KEYS] if columns is None else columns
        for column in chosen:
            if column not in arrays.columns:
                raise ValueError(f"view {self.facts.name!r} has no column {column!r}; it has {', '.join(arrays.columns)}")
        return self._batches(arrays, batch_size, chosen)

    def _batches(self, arrays: Arrays, batch_size: int, columns: Sequence[str]) -> Iterator[Batch]:
        for start in range(0, len(arrays), batch_size):
            part = slice(start, start + batch_size)
            batch = {"image": to_unit_range(torch.from_numpy(arrays.images[part].copy()))}
            yield batch | {column: torch.from_numpy(arrays.columns[column][part].copy()) for column in columns}

    def _require(self, split: str) -> None:
        if split not in self.facts.counts:
            raise ValueError(f"view {self.facts.name!r} has no split {split!r}; it has {', '.join(self.facts.counts)}")


def open_view(folder: Path | str) -> View:
    """The view in ``folder``; ValueError if there is none."""
    folder = Path(folder)
    path = folder / "view.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no view there; python -m components.stages.augment <view> makes it")
    stored = json.loads(path.read_text(encoding="utf-8"))
    facts = {field.name: stored[field.name] for field in fields(ViewFacts)}
    facts["classes"] = {column: tuple(names) for column, names in facts["classes"].items()}
    facts["mean"], facts["std"] = tuple(facts["mean"]), tuple(facts["std"])
    facts["counts"] = {split: facts["counts"][split] for split in ("train", "validation", "test") if split in facts["counts"]}
    return View(folder, ViewFacts(**facts))
