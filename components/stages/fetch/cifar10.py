"""CIFAR-10, the binary version (A. Krizhevsky, 2009): 32 x 32 RGB photographs of ten classes in six files of 10,000 records.

A record is 1 label byte and 3,072 bytes, planar RGB. The published split is batches 1 to 5 for training and one test batch;
which batch serves as what is a setting, so that a validation split can be held out without touching the test batch.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from components.core.config.params import DatasetSettings
from components.core.errors import is_transient
from components.stages.fetch.dataset_files import write_index
from components.stages.fetch.downloads.bring import bring, from_mirror
from components.stages.fetch.downloads.published import Published, checksum
from components.stages.fetch.downloads.unpack import unpack

FOLDER = "cifar-10-batches-bin"  # in the archive, and in a mirror
ARCHIVE = Published(
    FOLDER,
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
MAX_BYTES, MAX_MEMBERS = 200_000_000, 20  # unpacked: 184 MB in 9 members
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Batch = Annotated[int, Field(ge=1, le=5)]


class Cifar10:
    """CIFAR-10: RGB [N, 32, 32, 3]; label 0..9; splits by the settings."""

    class Settings(DatasetSettings):
        """``train`` and ``validation``: training batches among 1 to 5; ``test``: whether to include the test batch."""

        train: tuple[Batch, ...]
        validation: tuple[Batch, ...]
        test: bool

        @model_validator(mode="after")
        def _every_batch_once(self) -> Cifar10.Settings:
            batches = self.train + self.validation
            if len(set(batches)) < len(batches):
                raise ValueError(f"train {self.train} and validation {self.validation} name a batch twice")
            if not batches and not self.test:
                raise ValueError("train and validation are empty and test is false: nothing is left")
            return self

    @staticmethod
    def fetch(settings: Cifar10.Settings, out: Path, seed: int, workspace: Path) -> None:
        splits = {
            "train": [f"data_batch_{batch}.bin" for batch in settings.train],
            "validation": [f"data_batch_{batch}.bin" for batch in settings.validation],
            "test": ["test_batch.bin"] if settings.test else [],
        }
        faults: list[Exception] = []
        names = [name for batches in splits.values() for name in batches]
        missing = [name for name in names if not from_mirror(Published(FOLDER, name, MD5[name]), out / name, faults)]
        if missing:
            _from_archive(missing, out, faults)
        write_index(out, "cifar10", {split: {"batches": names} for split, names in splits.items() if names}, {"label": CLASSES})


def _from_archive(names: list[str], out: Path, faults: list[Exception]) -> None:
    """Extract the batches ``names`` from the published archive. ``faults``: errors of the mirror's copies."""
    archive, folder = out / ARCHIVE.name, out / "unpacked"
    try:
        bring(ARCHIVE, archive)
    except ValueError as error:
        message = "; ".join([f"{', '.join(names)}: not in a mirror", *map(str, faults), str(error)])
        raise ValueError(message) from next(filter(is_transient, [*faults, error]), None)
    unpack(archive, folder, MAX_BYTES, MAX_MEMBERS)
    for name in names:
        digest = checksum(folder / FOLDER / name, MD5[name])
        if digest != MD5[name]:
            raise ValueError(f"{ARCHIVE.name}: {name} has the sum {digest}, expected {MD5[name]}")
        (folder / FOLDER / name).replace(out / name)
    archive.unlink()
    shutil.rmtree(folder)
