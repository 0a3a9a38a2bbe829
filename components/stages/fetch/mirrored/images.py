"""Images of a mirror's folder, pinned by a checksum in params.yaml.

For your own images use the source ``folder``, which needs neither mirror nor checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from components.core.runtime import mix
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.files.pack import Classes, pack
from components.stages.fetch.mirrored.folders import MirroredSettings, open_folder
from components.stages.fetch.mirrored.ink import PAPER, frame, read_scans, touching


class Mirrored:
    """Images as files of varying size; column "label" or "domain" from the folders' names; splits as in the folder.

    With ``ink_size`` scans of characters, dark on white, become grey arrays [N, ink_size, ink_size], ink bright on 0.
    """

    class Settings(MirroredSettings):
        """``column``: the meaning of a folder's name, a class or an image domain."""

        column: Literal["label", "domain"] = "label"
        ink_size: int | None = Field(
            default=None,
            ge=8,
            le=512,
            description="cut scans to their ink, fit it into a square of this side in pixels; none: pictures as they are",
        )
        touching_pairs: int | None = Field(
            default=None,
            ge=1,
            le=100_000,
            description="with ink_size: instead of the scans this many pictures of two of them a split, whose ink touches",
        )

        @model_validator(mode="after")
        def _has_a_size(self) -> Mirrored.Settings:
            if self.touching_pairs and self.ink_size is None:
                raise ValueError("touching_pairs needs ink_size")
            return self

    @staticmethod
    def fetch(settings: Mirrored.Settings, out: Path, seed: int, workspace: Path) -> None:
        splits = open_folder(settings)
        layout: Literal["files", "arrays"] = "files" if settings.ink_size is None else "arrays"
        entries = {split: _write(settings, classes, out, split, seed) for split, classes in splits.items()}
        write_index(out, layout, entries, {settings.column: list(next(iter(splits.values())))})


def _write(settings: Mirrored.Settings, classes: Classes, out: Path, split: str, seed: int) -> dict[str, Any]:
    if settings.ink_size is None:
        pack(classes, out / f"{split}.tar")
        return {"archive": f"{split}.tar", "column": settings.column}
    scans = read_scans(classes, settings.ink_size)
    images = np.concatenate(scans)
    index = np.repeat(np.arange(len(scans)), [len(each) for each in scans]).astype(np.int64)
    if settings.touching_pairs:
        left, right = _two_of(len(images), settings.touching_pairs, mix(seed, "touching", split))
        pairs = [_pair(images[one], images[two], settings.ink_size) for one, two in zip(left, right, strict=True)]
        images, index = np.stack(pairs), index[left]
    return write_arrays(out, split, {"image": images, settings.column: index})


def _two_of(count: int, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``number`` pairs of rows below ``count``, two different ones if there are two. The class is the first's."""
    generator = np.random.default_rng(seed)
    left = generator.integers(count, size=number)
    return left, (left + generator.integers(1, max(2, count), size=number)) % count


def _pair(left: np.ndarray, right: np.ndarray, side: int) -> np.ndarray:
    """Set two framed characters side by side at their common height, touching, and frame both together."""
    heights = np.flatnonzero((np.maximum(left, right) > PAPER).any(axis=1))
    rows = slice(heights[0], heights[-1] + 1)
    columns = [np.flatnonzero((each > PAPER).any(axis=0)) for each in (left, right)]
    cut = [each[rows, place[0] : place[-1] + 1] for each, place in zip((left, right), columns, strict=True)]
    return frame(touching(*cut), side)
