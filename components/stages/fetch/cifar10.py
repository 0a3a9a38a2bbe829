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

IMAGES, RECORD = 10_000, 1 + 3 * 32 * 32  # of a batch; bytes of a record

Batch = Annotated[int, Field(ge=1, le=5)]


class Cifar10:
    """CIFAR-10: RGB [N, 32, 32, 3]; label 0..9; splits by the settings."""

    class Settings(DatasetSettings):
        """Which batch serves as what."""

        train: tuple[Batch, ...] = Field(description="training batches among 1 to 5")
        validation: tuple[Batch, ...] = Field(description="training batches among 1 to 5")
        test: bool | tuple[Batch, ...] = Field(
            description="whether to include the test batch, or the training batches that serve as test images instead of it"
        )
        train_images: int | None = Field(
            default=None, ge=1, description="only the first images of the batches in `train`: what a small labelled set has"
        )

        @model_validator(mode="after")
        def _every_batch_once(self) -> Cifar10.Settings:
            held_out = () if isinstance(self.test, bool) else self.test
            batches = self.train + self.validation + held_out
            if len(set(batches)) < len(batches):
                raise ValueError(f"train {self.train}, validation {self.validation} and test {held_out} name a batch twice")
            if not batches and self.test is not True:
                raise ValueError("train, validation and test name no batch: nothing is left")
            held = IMAGES * len(self.train)
            if self.train_images is not None and self.train_images > held:
                raise ValueError(f"train_images: {self.train_images} is more than the {held} images of the batches in train")
            return self

    @staticmethod
    def fetch(settings: Cifar10.Settings, out: Path, seed: int, workspace: Path) -> None:
        held_out = () if isinstance(settings.test, bool) else settings.test
        chosen = {"train": _first(settings), "validation": settings.validation, "test": held_out}
        splits = {split: [f"data_batch_{batch}.bin" for batch in batches] for split, batches in chosen.items()}
        splits["test"] += ["test_batch.bin"] if settings.test is True else []
        faults: list[Exception] = []
        names = [name for batches in splits.values() for name in batches]
        missing = [name for name in names if not from_mirror(Published(FOLDER, name, MD5[name]), out / name, faults)]
        if missing:
            _from_archive(missing, out, faults)
        if settings.train_images is not None:
            _cut(out / splits["train"][-1], settings.train_images - IMAGES * (len(splits["train"]) - 1))
        write_index(out, "cifar10", {split: {"batches": names} for split, names in splits.items() if names}, {"label": CLASSES})


def _first(settings: Cifar10.Settings) -> tuple[int, ...]:
    """Return the batches that hold the first ``train_images`` images."""
    return settings.train if settings.train_images is None else settings.train[: -(-settings.train_images // IMAGES)]


def _cut(path: Path, images: int) -> None:
    """Keep the first ``images`` records of a batch."""
    with path.open("rb") as file:
        kept = file.read(images * RECORD)
    path.write_bytes(kept)


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
