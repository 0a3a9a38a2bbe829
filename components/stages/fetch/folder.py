"""Pack the user's own images, ``<class>/*.png`` or ``{train,validation,test}/<class>/*.png``, into one tar per split.

The files are not decoded here (stage 2 does). The tars depend on names and contents only: members are in byte order of their
names, without times and owners.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.names import same_looking, split_of
from components.stages.fetch.files.pack import Classes
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, Picture
from components.stages.fetch.files.suffixes import FORMATS, IMAGES
from components.stages.fetch.files.walk import Walk

FORM = "<path>/<class>/<image> or <path>/{train,validation,test}/<class>/<image>"


class Folder(Own):
    """Images as files; column "label" or "domain" from the folders' names. Splits: "all", or those of the folder."""

    class Settings(OwnSettings):
        moved: ClassVar[dict[str, str]] = {
            "table": "tables have a source of their own now: {source: table, path: <folder>, table: <file>}",
            "boxes": "boxes beside a table are read by {source: table, table: <file>, boxes: <file>}, others by {source: coco}",
        }

        column: Literal["label", "domain"] = Field(
            default="label", description="Meaning of a folder's name: a class, or an image domain for translation."
        )
        other_files: Literal["error", "skip"] = Field(
            default="error", description="Files in a class folder that are no images are an error, or skipped and counted."
        )

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        return {} if file is None and walk.folders(walk.root) else None

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, Folder.Settings)
        splits = _read_splits(walk, skip=settings.other_files == "skip")
        pictures = {
            split: [Picture(f"{name}/{path.name}", path, {settings.column: name}) for name in classes for path in classes[name]]
            for split, classes in splits.items()
        }
        names = list(next(iter(splits.values())))
        return Listing(pictures, {settings.column: names}, folder_column=settings.column)

    @classmethod
    def contents(cls, settings: OwnSettings, workspace: Path) -> dict[str, tuple[str, ...]]:
        """Return split -> class names. ValueError as in ``fetch``."""
        assert isinstance(settings, Folder.Settings)
        folder = workspace / settings.path
        listing = cls.checked(settings, Walk(folder, Faults(folder), settings.follow_links))
        names = tuple(listing.classes[settings.column])
        return dict.fromkeys(listing.splits, names)


def read_splits(folder: Path, skipped: Counter[str]) -> dict[str, Classes]:
    """Return split -> class -> images. ``skipped`` counts hidden files and, by suffix, files that are not images.

    ValueError with all faults if the folder has neither of the two forms, a class has no image, or the splits' classes differ.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    walk = Walk(folder, Faults(folder), skipped=skipped)
    splits = _read_splits(walk, skip=True)
    for line in same_looking({name for classes in splits.values() for name in classes}):
        walk.faults.add(f"{folder}: {line}")
    walk.faults.check()
    return splits


def _read_splits(walk: Walk, *, skip: bool) -> dict[str, Classes]:
    top = _folders(walk.root, walk)
    named = {path: split for path in top if (split := split_of(path.name)) and _holds_folder(path)}
    if not named:
        return {"all": _classes(walk.root, top, walk, skip=skip)}
    for path in (path for path in top if path not in named):
        walk.faults.add(f"{path}: no split with class folders, beside {', '.join(split.name for split in named)}")
    splits: dict[str, Classes] = {}
    for path, split in named.items():
        if split in splits:
            walk.faults.add(f"{path}: a second folder for the {split} split")
        splits[split] = _classes(path, _folders(path, walk), walk, skip=skip)
    first, *others = splits
    for split in others:
        if differing := sorted(set(splits[first]) ^ set(splits[split])):
            fault = f"{first} and {split} have different classes: {', '.join(differing)} only in one of them"
            walk.faults.add(f"{walk.root}: {fault}")
    return splits


def _classes(parent: Path, folders: list[Path], walk: Walk, *, skip: bool) -> Classes:
    if not folders:
        walk.faults.add(f"{parent}: no class folders; expected {FORM}")
    return {path.name: _images(path, walk, skip=skip) for path in folders}


def _folders(parent: Path, walk: Walk) -> list[Path]:
    """List the folders in ``parent``; an image next to them, which has no class, becomes a fault."""
    folders = []
    for path in walk.entries(parent):
        if path.is_dir():
            folders.append(path)
        elif path.suffix.lower() in FORMATS:
            walk.faults.add(f"{path}: an image beside the class folders; expected {FORM}")
        else:
            walk.skipped[_kind(path)] += 1
    return folders


def _images(parent: Path, walk: Walk, *, skip: bool) -> list[Path]:
    images, faults = [], len(walk.faults.lines)
    for path in walk.entries(parent):
        if path.is_dir():
            walk.faults.add(f"{path}: a folder inside a class folder; expected {FORM}")
        elif path.suffix.lower() in FORMATS:
            images += [path] if walk.is_picture(path) else []
        elif skip:
            walk.skipped[_kind(path)] += 1
        else:
            walk.faults.add(f"{path}: no image (by its suffix) in a class folder; other_files: skip passes over such files")
    if not images and len(walk.faults.lines) == faults:
        walk.faults.add(f"{parent}: a class folder without images (known suffixes: {' '.join(IMAGES)})")
    return images


def _holds_folder(path: Path) -> bool:
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without suffix"
