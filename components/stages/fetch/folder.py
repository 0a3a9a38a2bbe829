"""Pack the user's own images, ``<class>/*.png`` or ``{train,validation,test}/<class>/*.png``, into one tar per split.

The files are not decoded here (stage 2 does). The tars depend on names and contents only: members are in byte order of their
names, without times and owners.
"""

from __future__ import annotations

import logging
import os
import tarfile
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from components.core.params import DatasetSettings
from components.stages.fetch.dataset_files import write_index

SPLITS = ("train", "validation", "test")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
MAX_BYTES = 2**29  # of an image file: more than the uncompressed pixels that stage 2 accepts
JOINERS = "\u200c\u200d"  # invisible, but spelling in some scripts
FORM = "<path>/<class>/<image> or <path>/{train,validation,test}/<class>/<image>"

log = logging.getLogger(__name__)

Classes = dict[str, list[Path]]  # class name -> its images, both in byte order of their names


class Folder:
    """Images as files; column "label" or "domain" from the folders' names, or columns from a table.

    Splits: "all", or those of the folder.
    """

    reads_path = True  # data come in through the user's own folder

    class Settings(DatasetSettings):
        """``path``: relative to the workspace, or absolute. ``column``: the meaning of a folder's name, class or domain.

        ``table``: a CSV file in the folder that lists the images, in any subfolders (format: ``listing.py``); ``boxes``: a JSON
        file in the folder with boxes, in COCO format; it needs a table.
        """

        column: Literal["label", "domain"] = "label"
        table: str | None = None
        boxes: str | None = None

        @model_validator(mode="after")
        def _agrees(self) -> Folder.Settings:
            if self.boxes is not None and self.table is None:
                raise ValueError("boxes needs a table that lists the images")
            if self.table is not None and "column" in self.model_fields_set:
                raise ValueError("column is for folders of classes; a table names its columns itself")
            return self

    @staticmethod
    def contents(settings: Folder.Settings, workspace: Path) -> dict[str, tuple[str, ...]] | None:
        """Return split -> class names, or None for images that a table lists. ValueError as in ``fetch``."""
        if settings.table is not None:
            return None
        splits = read_splits(workspace / settings.path, Counter())
        return {split: tuple(classes) for split, classes in splits.items()}

    @staticmethod
    def fetch(settings: Folder.Settings, out: Path, seed: int, workspace: Path) -> None:
        folder = workspace / settings.path
        if settings.table is not None:
            from components.stages.fetch.listing import fetch_listed

            fetch_listed(folder, settings.table, settings.boxes, out)
            return
        skipped: Counter[str] = Counter()
        splits = read_splits(folder, skipped)
        if skipped:
            listed = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
            log.warning("%s: skipped %s; images are %s", folder, listed, " ".join(IMAGES))
        for split, classes in splits.items():
            pack(classes, out / f"{split}.tar")
        entries = {split: {"archive": f"{split}.tar", "column": settings.column} for split in splits}
        write_index(out, "files", entries, {settings.column: list(next(iter(splits.values())))})


def read_splits(folder: Path, skipped: Counter[str]) -> dict[str, Classes]:
    """Return split -> class -> images. ``skipped`` counts hidden files and, by suffix, files that are not images.

    ValueError if the folder has neither of the two forms, a class has no image, or the splits' classes differ.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    top = _folders(folder, folder, skipped)
    if top and all(path.name in SPLITS and _holds_folder(path) for path in top):
        splits = {path.name: _classes(path, _folders(path, folder, skipped), folder, skipped) for path in top}
    else:
        splits = {"all": _classes(folder, top, folder, skipped)}
    first, *others = splits
    for split in others:
        if differing := sorted(set(splits[first]) ^ set(splits[split])):
            raise ValueError(
                f"{folder}: {first} and {split} have different classes: {', '.join(differing)} only in one of them"
            )
    return splits


def _classes(parent: Path, folders: list[Path], root: Path, skipped: Counter[str]) -> Classes:
    if not folders:
        raise ValueError(f"{parent}: no class folders; expected {FORM}")
    seen: dict[str, str] = {}
    for path in folders:
        same = seen.setdefault(unicodedata.normalize("NFC", path.name), path.name)
        if same != path.name:
            raise ValueError(f"{path}: {path.name!r} and {same!r} look the same, spelt with other code points; rename one")
    return {path.name: _images(path, root, skipped) for path in folders}


def _folders(parent: Path, root: Path, skipped: Counter[str]) -> list[Path]:
    """List the folders in ``parent``; ValueError for an image next to them, which has no class."""
    entries = _entries(parent, root, skipped)
    for path in entries:
        if path.is_file() and path.suffix.lower() in IMAGES:
            raise ValueError(f"{path}: an image beside the class folders; expected {FORM}")
    skipped.update(_kind(path) for path in entries if path.is_file())
    return [path for path in entries if path.is_dir()]


def _images(parent: Path, root: Path, skipped: Counter[str]) -> list[Path]:
    entries = _entries(parent, root, skipped)
    for path in entries:
        if path.is_dir():
            raise ValueError(f"{path}: a folder inside a class folder; expected {FORM}")
    images = [path for path in entries if path.suffix.lower() in IMAGES]
    for path in images:
        check_size(path)
    skipped.update(_kind(path) for path in entries if path.suffix.lower() not in IMAGES)
    if not images:
        raise ValueError(f"{parent}: a class folder without images (known suffixes: {' '.join(IMAGES)})")
    return images


def check_size(path: Path) -> None:
    """Raise ValueError for a file that is too large to be an image."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes; an image file may have at most {MAX_BYTES:,}")


def _entries(parent: Path, root: Path, skipped: Counter[str]) -> list[Path]:
    """List and check the entries of ``parent`` in byte order of their names, without hidden ones."""
    entries = []
    for name in sorted(os.listdir(parent), key=os.fsencode):
        if name.startswith("."):
            skipped["hidden"] += 1
            continue
        entries.append(parent / plain_name(name, parent))
        check_inside(entries[-1], root)
    return entries


def plain_name(name: str, parent: Path) -> str:
    """Return ``name`` if it is UTF-8 without control characters, else raise ValueError."""
    # Cs: surrogates, for bytes that are not UTF-8; Cf: invisible, such as marks of the writing direction
    kinds = {unicodedata.category(letter) for letter in name if letter not in JOINERS}
    if kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        raise ValueError(f"{parent}: the name {name!a} is not UTF-8, or holds a line break or another control character")
    return name


def check_inside(path: Path, root: Path) -> None:
    """Raise ValueError for a link that leads out of ``root``, and for anything but files and folders."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):  # resolve() stops at a link to itself
        raise ValueError(f"{path}: a link that leads out of {root} is refused")
    if not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path}: neither a file nor a folder")


def _holds_folder(path: Path) -> bool:
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without suffix"


def pack(classes: Classes, archive: Path) -> None:
    """Write an uncompressed tar of "<class>/<file name>" whose bytes depend on names and contents only."""
    pack_files({f"{name}/{path.name}": path for name, paths in classes.items() for path in paths}, archive)


def pack_files(members: dict[str, Path], archive: Path) -> None:
    """Write an uncompressed tar of member name -> file, in byte order of the names."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, path in sorted(members.items(), key=lambda pair: pair[0].encode()):
            entry = tarfile.TarInfo(member)  # time 0, owner 0, mode 644
            with path.open("rb") as file:
                entry.size = os.fstat(file.fileno()).st_size
                tar.addfile(entry, file)
