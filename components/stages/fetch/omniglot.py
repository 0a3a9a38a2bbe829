"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people (Lake, Salakhutdinov, Tenenbaum 2015).

The published sets overlap: both small ones are subsets of "background", and share Greek and Latin. An image in several of the
selected sets is used once.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from components.core.config.params import DatasetSettings
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.downloads.bring import bring
from components.stages.fetch.downloads.published import Published
from components.stages.fetch.downloads.unpack import unpack

FOLDER = "omniglot/python"  # in a mirror
ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"

# The authors publish no checksums. "background" and "evaluation": as in torchvision/datasets/omniglot.py; the small sets: of
# the files at the URL above.
MD5 = {
    "background": "68d2efa1b9178cc56df9314c21c6e718",
    "evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
    "background_small1": "e704a628b5459e08445c13499850abc4",
    "background_small2": "b75a71a51d3b13f821f212756fe481fd",
}
SIDE = 105  # pixels
MAX_BYTES, MAX_MEMBERS = 50_000_000, 25_000  # of one set, unpacked: "background" holds 19,280 images of some 300 bytes

Set = Literal["background", "evaluation", "background_small1", "background_small2"]


class Omniglot:
    """Omniglot: binary [N, 105, 105]; label = "Alphabet/character01", alphabet; one split, "all", in the order of the names."""

    class Settings(DatasetSettings):
        """``sets``: a selection of the published sets; ``invert``: ink 255 on 0, as in MNIST, instead of 0 on 255."""

        sets: tuple[Set, ...] = Field(min_length=1)
        invert: bool = False

        @field_validator("sets")
        @classmethod
        def _no_set_twice(cls, sets: tuple[Set, ...]) -> tuple[Set, ...]:
            if len(set(sets)) < len(sets):
                raise ValueError("a set is named twice")
            return sets

    @staticmethod
    def fetch(settings: Omniglot.Settings, out: Path, seed: int, workspace: Path) -> None:
        folder = out / "unpacked"
        for name in settings.sets:
            _bring_set(name, out, folder)
        images = find_images(folder)
        pixels = np.stack([read_image(path) for path in images.values()])
        labels, characters = _indexed([name.rpartition("/")[0] for name in images])
        alphabet, alphabets = _indexed([name.partition("/")[0] for name in images])
        columns = {"image": 255 - pixels if settings.invert else pixels, "label": labels, "alphabet": alphabet}
        shutil.rmtree(folder)
        write_index(out, "arrays", {"all": write_arrays(out, "all", columns)}, {"label": characters, "alphabet": alphabets})


def _bring_set(name: str, out: Path, folder: Path) -> None:
    file = f"images_{name}.zip"
    bring(Published(FOLDER, file, MD5[name], (ADDRESS + file,)), out / file)
    unpack(out / file, folder / name, MAX_BYTES, MAX_MEMBERS)
    (out / file).unlink()


def find_images(folder: Path) -> dict[str, Path]:
    """Return "Alphabet/character01/0108_01.png" -> path, sorted; ValueError if two sets differ in an image."""
    images: dict[str, Path] = {}
    for path in folder.glob("*/images_*/*/*/*.png"):
        same = images.setdefault("/".join(path.parts[-3:]), path)
        if same.read_bytes() != path.read_bytes():
            raise ValueError(f"{path.relative_to(folder)} and {same.relative_to(folder)} differ")
    if not images:
        raise ValueError("no image images_<set>/<alphabet>/<character>/<image>.png in the archives")
    return dict(sorted(images.items()))


def read_image(path: Path) -> np.ndarray:
    """Read uint8 [105, 105] of 0 and 255. ValueError for another size or mode."""
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as image:
        if image.mode != "1" or image.size != (SIDE, SIDE):
            raise ValueError(f"{path.name}: mode {image.mode}, {image.width} x {image.height}; expected 1, {SIDE} x {SIDE}")
        return np.asarray(image.convert("L"))


def _indexed(names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return (int64 [N] indices, the sorted distinct names)."""
    different, indices = np.unique(np.array(names), return_inverse=True)
    return indices.astype(np.int64), [str(name) for name in different]
