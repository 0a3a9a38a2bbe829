"""Images of a mirror's folder, pinned by a checksum in params.yaml.

For your own images use the source ``folder``, which needs neither mirror nor checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.files.pack import Classes, pack
from components.stages.fetch.mirrored.folders import MirroredSettings, open_folder
from components.stages.fetch.mirrored.ink import read_scans


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

    @staticmethod
    def fetch(settings: Mirrored.Settings, out: Path, seed: int, workspace: Path) -> None:
        splits = open_folder(settings)
        layout: Literal["files", "arrays"] = "files" if settings.ink_size is None else "arrays"
        entries = {split: _write(settings, classes, out, split) for split, classes in splits.items()}
        write_index(out, layout, entries, {settings.column: list(next(iter(splits.values())))})


def _write(settings: Mirrored.Settings, classes: Classes, out: Path, split: str) -> dict[str, Any]:
    if settings.ink_size is None:
        pack(classes, out / f"{split}.tar")
        return {"archive": f"{split}.tar", "column": settings.column}
    scans = read_scans(classes, settings.ink_size)
    index = np.repeat(np.arange(len(scans)), [len(images) for images in scans]).astype(np.int64)
    return write_arrays(out, split, {"image": np.concatenate(scans), settings.column: index})
