"""A mirror's folder of images as it is: no address gives it, so its sum stands in params.yaml.

The user's own images come in through the source ``folder``, which needs no mirror and no sum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from components.stages.fetch.dataset_files import write_index
from components.stages.fetch.folder import pack
from components.stages.fetch.mirrored.folders import MirroredSettings, open_folder


class Mirrored:
    """Images as files (sizes vary); column "label" or "domain" from the folders' names; the splits that are there."""

    class Settings(MirroredSettings):
        """``column``: what a folder's name is, a class or an image domain."""

        column: Literal["label", "domain"] = "label"

    @staticmethod
    def fetch(settings: Mirrored.Settings, out: Path, seed: int, workspace: Path) -> None:
        splits = open_folder(settings)
        for split, classes in splits.items():
            pack(classes, out / f"{split}.tar")
        entries = {split: {"archive": f"{split}.tar", "column": settings.column} for split in splits}
        write_index(out, "files", entries, {settings.column: list(next(iter(splits.values())))})
