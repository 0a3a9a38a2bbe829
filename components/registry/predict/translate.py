"""Translate pictures into a domain and write them as PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError, must_exist
from components.registry.predict.pictures import Picture


def domain_index(served: Any, domain: str) -> int:
    """Return the index of the domain's name. SettingsError lists the domains."""
    must_exist(domain, served.facts["domains"], "--domain")
    return int(served.facts["domains"].index(domain))


def empty_folder(folder: Path) -> Path:
    """Create the folder. SettingsError if something lies in it: nothing is overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"--out: {str(folder)!r} exists and is no empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def translate(
    served: Any, batches: Iterable[tuple[list[Picture], np.ndarray]], domain: int, seed: int, folder: Path
) -> Iterator[tuple[list[Picture], np.ndarray, np.ndarray]]:
    """Write the translation of each picture to ``folder``; yield the batches, sources and translations uint8 [n, H, W, C].

    Picture i has the random style i of ``seed``, if the model has styles.
    """
    first = 0
    for pictures, pixels in batches:
        domains = np.full(len(pixels), domain, np.int64)
        images = served.translate(pixels, domains, seed=seed, first=first)
        for picture, image in zip(pictures, images, strict=True):
            write_png(_place(folder, picture), image)
        first += len(pictures)
        yield pictures, pixels, images


def _place(folder: Path, picture: Picture) -> Path:
    """Return a free path in ``folder``: the picture's name below the current folder, as PNG."""
    name = Path(picture.name)
    name = Path(name.name) if name.is_absolute() or ".." in name.parts else name
    for candidate in (name.with_suffix(".png"), name.with_name(f"{name.name}.png")):
        if not (folder / candidate).exists():
            return folder / candidate
    number = 2
    while (path := folder / name.with_name(f"{name.name}-{number}.png")).exists():
        number += 1
    return path


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W, 1 or 3]; create the folder."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, "PNG")
