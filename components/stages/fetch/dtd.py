"""Describable Textures: 47 textures, 120 photographs each (Cimpoi and others, CVPR 2014, arXiv:1311.3618).

Two editions: "published", the archive of the full photographs (300 to 640 pixels a side), and "reduced", ten textures with 64
pixels on the shorter side, available only from a mirror, as ``dtd10_64/<texture>/*.jpg``. Each has its own checksums.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from components.core.config.params import DatasetSettings
from components.core.errors import is_transient, redacted
from components.stages.fetch.dataset_files import write_index
from components.stages.fetch.downloads.bring import bring, mirror_folder
from components.stages.fetch.downloads.published import Published
from components.stages.fetch.downloads.unpack import unpack
from components.stages.fetch.files.pack import pack

log = logging.getLogger(__name__)

# The sum as in torchvision/datasets/dtd.py.
ARCHIVE = Published(
    "dtd",
    "dtd-r1.0.1.tar.gz",
    "fff73e5086ae6bdbea199a49dfb8a4c1",
    ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
)
IMAGES = "dtd/images"  # in the archive
MAX_BYTES, MAX_MEMBERS = 2_000_000_000, 10_000  # packed: 625 MB with 5,640 photographs

REDUCED = "dtd10_64"  # in a mirror
# texture -> SHA-256 over names and contents of its files, in the order of the names (``folder_sum``): computed here, since this
# edition is not published.
REDUCED_SHA256 = {
    "banded": "4e1839e1449c4722a01ebb58b0643db63781601c4f6eeb6f2bb3ad756f32e5d3",
    "blotchy": "75d40e9435216b848bba9c2a1dc6ab383f05f35a8b3dc88635019dc7942d5327",
    "braided": "06977f5c5a9f099a5852017bddcd3eadc9f94b13c2eb725b4ecf868cf6844da3",
    "bubbly": "d87038e926629afdd6cd23bde4a7612ff8bfe56b9d0dda8902ce1e50a6f214d7",
    "bumpy": "fea54c651e8cd871cfd763f6eb0d3b64b81bac719383433352f1721fdcf3bac2",
    "chequered": "6b905baf071083b85795c5dc18bdd35da92edc94578bf1feee5e4dbfdad301b2",
    "cobwebbed": "1a4553a4fe058bbce8c48290a227b69dc200d41cc39a7453158af87cca92d039",
    "cracked": "f9fee3ee43f3ad2d3afdf8b9c690c350151e5b33786a1e592300caeef14a5334",
    "crosshatched": "e8cedf5064aca253f8202d6c17873cadc77c02f587d2df92a87a820a07d9c4c0",
    "crystalline": "8ab3ce32a72619c686062c18d1af67f5875de7028f23432230f8110b99d3d898",
}

# fmt: off
Texture = Literal[
    "banded", "blotchy", "braided", "bubbly", "bumpy", "chequered", "cobwebbed", "cracked", "crosshatched", "crystalline",
    "dotted", "fibrous", "flecked", "freckled", "frilly", "gauzy", "grid", "grooved", "honeycombed", "interlaced", "knitted",
    "lacelike", "lined", "marbled", "matted", "meshed", "paisley", "perforated", "pitted", "pleated", "polka-dotted", "porous",
    "potholed", "scaly", "smeared", "spiralled", "sprinkled", "stained", "stratified", "striped", "studded", "swirly", "veined",
    "waffled", "woven", "wrinkled", "zigzagged",
]
# fmt: on
Edition = Literal["published", "reduced"]


class Dtd:
    """DTD: photographs as files of varying size; label = texture; one split, "all"."""

    class Settings(DatasetSettings):
        """``textures``: a selection of the 47; ``editions``: in order of preference, the first available one is used."""

        textures: tuple[Texture, ...] = Field(min_length=1)
        editions: tuple[Edition, ...] = Field(default=("published",), min_length=1)

        @field_validator("textures", "editions")
        @classmethod
        def _nothing_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            if len(set(names)) < len(names):
                raise ValueError("a name stands there twice")
            return names

    @staticmethod
    def fetch(settings: Dtd.Settings, out: Path, seed: int, workspace: Path) -> None:
        bring_edition = {"published": bring_published, "reduced": bring_reduced}
        faults: list[Exception] = []
        for edition in settings.editions:
            try:
                folder = bring_edition[edition](settings.textures, out)
                break
            except ValueError as error:
                faults.append(error)
                log.warning("textures, the %s edition: %s", edition, redacted(str(error)))
        else:
            raise ValueError("; ".join(map(str, faults))) from next(filter(is_transient, faults), None)
        log.warning("textures: the %s edition is taken", edition)
        pack({texture: sorted((folder / texture).glob("*.jpg")) for texture in settings.textures}, out / "all.tar")
        shutil.rmtree(out / "unpacked", ignore_errors=True)
        write_index(out, "files", {"all": {"archive": "all.tar", "column": "label"}}, {"label": settings.textures})


def bring_published(textures: Sequence[str], out: Path) -> Path:
    """Download and unpack the archive in ``out``; return the folder of textures. ValueError if it is unavailable."""
    archive = out / ARCHIVE.name
    bring(ARCHIVE, archive)
    unpack(archive, out / "unpacked", MAX_BYTES, MAX_MEMBERS)
    archive.unlink()
    for texture in textures:
        if not any((out / "unpacked" / IMAGES / texture).glob("*.jpg")):
            raise ValueError(f"{ARCHIVE.name}: no photograph {IMAGES}/{texture}/*.jpg in it")
    return out / "unpacked" / IMAGES


def bring_reduced(textures: Sequence[str], out: Path) -> Path:
    """Return the mirror's folder of reduced textures after verifying the checksums. ValueError if it is unavailable."""
    mirror = mirror_folder()
    if mirror is None or not (mirror / REDUCED).is_dir():
        raise ValueError(f"the reduced edition is only in a mirror: DATA_MIRROR names no folder that holds {REDUCED}")
    for texture in textures:
        if texture not in REDUCED_SHA256:
            raise ValueError(f"the reduced edition has no {texture!r}; allowed: {', '.join(REDUCED_SHA256)}")
        checksum = folder_sum(mirror / REDUCED / texture)
        if checksum != REDUCED_SHA256[texture]:
            raise ValueError(f"{mirror / REDUCED / texture}: the sum is {checksum}, expected {REDUCED_SHA256[texture]}")
    return mirror / REDUCED


def folder_sum(folder: Path) -> str:
    """Compute the SHA-256 over the names of the photographs and the SHA-256 of each, in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.jpg")):
        digest.update(f"{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
