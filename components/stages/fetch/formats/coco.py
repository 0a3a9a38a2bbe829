"""Source ``coco``: pictures with boxes or captions in COCO's JSON format.

Layouts that are found without ``splits``: ``annotations/instances_<split>.json`` (and ``captions_<split>.json``) with the
pictures in ``<split>/``, ``images/<split>/`` or ``images/``; ``<split>/_annotations.coco.json`` with the pictures beside it; a
single JSON file with the pictures in ``images/`` or beside it. ``<split>``: train2017, val, valid, test, ...
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from components.core.config.strict import Strict
from components.stages.fetch.files.names import relative_name, split_of
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, Picture
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import BoxedSettings, Placer
from components.stages.fetch.formats.coco_json import Coco, read_coco

Split = Literal["all", "train", "validation", "test"]
BESIDE = "_annotations.coco.json"


class CocoSplit(Strict):
    """Files of a split, relative to `path`."""

    annotations: str | None = Field(default=None, description="JSON file with boxes.")
    captions: str | None = Field(default=None, description="JSON file with captions.")
    images: str = Field(default=".", description="Folder to which the file names in the JSON files are relative.")

    @model_validator(mode="after")
    def _has_one(self) -> CocoSplit:
        if self.annotations is None and self.captions is None:
            raise ValueError("annotations or captions is needed")
        return self


class CocoFiles(Own):
    """Images as files of varying size with boxes (classes: "box_label"), captions, or both; no label."""

    class Settings(BoxedSettings):
        splits: dict[Split, CocoSplit] | None = Field(
            default=None,
            description="Files of each split: {train: {annotations: a.json, captions: c.json, images: folder}}. Default: the "
            "usual layouts are recognised (docs/data.md).",
        )

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        if file is not None:
            path = walk.root / file
            one = {"annotations": file, "images": _images(walk.root, path)}
            return {"splits": {"all": one}} if path.suffix == ".json" and is_coco(path) else None
        return {} if _candidates(walk) else None

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, CocoFiles.Settings)
        splits = settings.splits or find_splits(walk)
        placer = Placer(settings, "stored", walk.faults)
        listing = Listing({})
        for split, files in splits.items():
            boxed = read_coco(_path(walk, files.annotations), walk) if files.annotations else None
            told = read_coco(_path(walk, files.captions), walk) if files.captions else None
            listing.splits[split] = _pictures(files, boxed, told, placer, walk)
            listing.captions |= any(part.captions for part in (boxed, told) if part)
            names = boxed.categories if boxed else []
            first = listing.classes.setdefault("box_label", names) if boxed and names else names
            if set(first) != set(names):
                fault = f"{', '.join(sorted(set(first) ^ set(names)))} only in some of the splits"
                walk.faults.add(f"{walk.root}: the splits have different categories: {fault}")
        listing.notes = placer.notes()
        return listing


def _path(walk: Walk, name: str) -> Path:
    return walk.root / relative_name(name, f"{walk.root}")


def _pictures(files: CocoSplit, boxed: Coco | None, told: Coco | None, placer: Placer, walk: Walk) -> list[Picture]:
    pictures = []
    for file in sorted({*(boxed.images if boxed else ()), *(told.images if told else ())}, key=str.encode):
        where = f"{files.annotations or files.captions}: {file}"
        try:
            name = relative_name(file if files.images == "." else f"{files.images.rstrip('/')}/{file}", where)
        except ValueError as error:
            walk.faults.add(str(error))
            continue
        path = walk.file(name, where)
        if path is None:
            continue
        picture = Picture(name, path)
        if boxed and file in boxed.images:
            image = boxed.images[file]
            picture.boxes = placer.place(path, image.boxes, image.frame, where)
        picture.captions = [
            caption for part in (boxed, told) if part and file in part.images for caption in part.images[file].captions
        ]
        pictures.append(picture)
    return pictures


def find_splits(walk: Walk) -> dict[Split, CocoSplit]:
    """Recognise the layout. ValueError if there is none, or two files for one split."""
    found: dict[Split, dict[str, str]] = {}
    for path in _candidates(walk):
        name = path.relative_to(walk.root).as_posix()
        split, kind = _split(path), "captions" if path.name.startswith("captions") else "annotations"
        files = found.setdefault(split, {})
        if kind in files:
            fault = f"{files[kind]} and {name} are both for split {split}"
            raise ValueError(f"{walk.root}: {fault}; name the files: splits: {{train: {{annotations: ..., images: ...}}}}")
        files |= {kind: name, "images": _images(walk.root, path)}
    if not found:
        raise ValueError(f"{walk.root}: no JSON file in COCO format, in it or in annotations/")
    return {split: CocoSplit(**files) for split, files in found.items()}


def _candidates(walk: Walk) -> list[Path]:
    """List the JSON files in COCO format in the usual folders; person_keypoints_*, stuff_* and panoptic_* are left out."""
    folders = [walk.root / "annotations"] if (walk.root / "annotations").is_dir() else [walk.root]
    folders += [path for path in walk.folders(walk.root) if (path / BESIDE).is_file()]
    found = [path for folder in folders for path in walk.entries(folder) if path.suffix == ".json" and is_coco(path)]
    parts = [path for path in found if re.match(r"instances|captions", path.name)]
    return parts or [path for path in found if not re.match(r"person_keypoints|stuff|panoptic", path.name)]


def is_coco(path: Path) -> bool:
    """Return whether a JSON file has COCO's keys in its first or last megabyte, without parsing the whole file."""
    try:
        with path.open("rb") as file:
            head = file.read(2**20)
            file.seek(max(0, path.stat().st_size - 2**20))
            ends = head + file.read()
    except OSError:
        return False
    return all(any(key in ends for key in keys) for keys in ((b'"images"', b'"file_name"'), (b'"annotations"', b'"image_id"')))


def _split(path: Path) -> Split:
    """Return the split that the file's name means: instances_val2017.json, valid/_annotations.coco.json."""
    words = [path.parent.name] if path.name == BESIDE else re.split(r"[_.\-]|\d+", path.stem)
    known = [split for word in words if (split := split_of(word))]
    return known[-1] if known else "all"  # type: ignore[return-value]


def _images(root: Path, path: Path) -> str:
    """Return the folder of the file's pictures, relative to the root."""
    if path.name == BESIDE:
        return path.parent.relative_to(root).as_posix()
    part = re.sub(r"^(instances|captions|image_info)_", "", path.stem)
    for folder in (part, f"images/{part}", f"{part}/images", "images"):
        if (root / folder).is_dir():
            return folder
    return "."
