"""Images of a mirror's folder, pinned by a checksum in params.yaml.

For your own images use the source ``folder``, which needs neither mirror nor checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from components.stages.fetch.dataset_files import write_index
from components.stages.fetch.files.pack import pack
from components.stages.fetch.mirrored.folders import MirroredSettings, open_folder


class Mirrored:
    """Images as files of varying size; column "label" or "domain" from the folders' names; splits as in the folder."""

    class Settings(MirroredSettings):
        """``column``: the meaning of a folder's name, a class or an image domain."""

        column: Literal["label", "domain"] = "label"

    @staticmethod
    def fetch(settings: Mirrored.Settings, out: Path, seed: int, workspace: Path) -> None:
        splits = open_folder(settings)
        for split, classes in splits.items():
            pack(classes, out / f"{split}.tar")
        entries = {split: {"archive": f"{split}.tar", "column": settings.column} for split in splits}
        write_index(out, "files", entries, {settings.column: list(next(iter(splits.values())))})
