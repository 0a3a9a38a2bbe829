"""The listing that each source of the user's own files makes: pictures with annotations; and how it becomes a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from components.core.config.params import DatasetSettings
from components.stages.fetch.dataset_files import write_annotations, write_index
from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.names import nearly_equal, same_looking
from components.stages.fetch.files.pack import Content, pack_files
from components.stages.fetch.files.unchanged import pack_unchanged
from components.stages.fetch.files.walk import Walk

log = logging.getLogger(__name__)

Box = tuple[str, tuple[float, float, float, float]]  # class, (cx, cy, w, h) relative to the picture as displayed


@dataclass
class Picture:
    """A picture. ``name``: relative, unique in its split; ``columns``: column -> class name; ``labels``: several classes."""

    name: str
    content: Content
    columns: dict[str, str] = field(default_factory=dict)
    captions: list[str] = field(default_factory=list)
    labels: tuple[str, ...] = ()
    boxes: list[Box] = field(default_factory=list)


@dataclass
class Listing:
    """The pictures of a source. ``splits``: "all", or of train, validation and test those that the source has.

    ``classes``: column -> class names in index order, "labels" and "box_label" included; ``captions``: whether pictures have
    captions; ``folder_column``: the column that the first folder of a picture's name gives; ``notes``: lines for the log.
    """

    splits: dict[str, list[Picture]]
    classes: dict[str, list[str]] = field(default_factory=dict)
    captions: bool = False
    folder_column: str | None = None
    notes: list[str] = field(default_factory=list)


class OwnSettings(DatasetSettings):
    """Settings of all sources of the user's own files."""

    follow_links: bool = Field(
        default=False,
        description="Follow links that lead out of `path`. DVC does not look behind links to folders: after a change there, "
        "fetch again by force.",
    )
    similar_names: Literal["error", "accept"] = Field(
        default="error",
        description="Class names that differ only by upper and lower case or by spaces are an error, or different classes.",
    )


class Own:
    """Base of the sources of the user's own files: ``read`` lists the pictures, ``fetch`` packs them."""

    Settings: type[OwnSettings]
    reads_path: ClassVar[bool] = True  # data come in through the user's own folder

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        """Return the settings (without ``path``) by which this source reads the folder ``walk.root``; None if it does not.

        ``file``: the name of a file in the folder that the user pointed at.
        """
        raise NotImplementedError

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        """Return the pictures below ``walk.root``. Faults are added to ``walk.faults``, or raised as ValueError."""
        raise NotImplementedError

    @classmethod
    def checked(cls, settings: OwnSettings, walk: Walk) -> Listing:
        """Return the listing. ValueError with all faults."""
        if walk.root.is_file():
            raise ValueError(f"{walk.root}: a file; path names the folder, and the file has a setting of its own")
        if not walk.root.is_dir():
            raise ValueError(f"{walk.root}: no such folder")
        listing = cls.read(settings, walk)
        check_listing(listing, walk.faults, similar=settings.similar_names == "accept")
        walk.faults.check()
        return listing

    @classmethod
    def fetch(cls, settings: OwnSettings, out: Path, seed: int, workspace: Path) -> None:
        folder = workspace / settings.path

        def pack(walk: Walk, out: Path) -> None:
            listing = cls.checked(settings, walk)
            walk.warn()
            for note in listing.notes:
                log.warning("%s: %s", folder, note)
            write_listing(listing, out)

        pack_unchanged(lambda: Walk(folder, Faults(folder), settings.follow_links), pack, out)


def check_listing(listing: Listing, faults: Faults, *, similar: bool) -> None:
    """Add the faults of class names, and of pictures that lack what others have. ``similar``: accept similar class names."""
    for column, names in listing.classes.items():
        for line in [*same_looking(names), *([] if similar or column == "group" else nearly_equal(names))]:
            faults.add(f"{faults.where}: {line}")
    if not faults.lines:
        for split in [split for split, pictures in listing.splits.items() if not pictures] or (
            [] if listing.splits else ["all"]
        ):
            faults.add(f"{faults.where}: no pictures" + (f" in the {split} split" if split != "all" else ""))
    if listing.captions:
        for picture in (picture for pictures in listing.splits.values() for picture in pictures):
            if not picture.captions:
                faults.add(f"{faults.where}: {picture.name} has no caption")


def write_listing(listing: Listing, out: Path) -> None:
    """Write the dataset: a tar per split, in byte order of the names, and its annotations."""
    entries = {}
    for split, given in listing.splits.items():
        pictures = sorted(given, key=lambda picture: picture.name.encode())
        pack_files(((picture.name, picture.content) for picture in pictures), out / f"{split}.tar")
        entries[split] = {"archive": f"{split}.tar"} | annotate(listing, split, pictures, out)
    write_index(out, "files", entries, listing.classes)


def annotate(listing: Listing, split: str, pictures: list[Picture], out: Path) -> dict[str, str]:
    """Write the annotation files of a split's pictures; return their part of the split's entry."""
    if listing.folder_column:
        return {"column": listing.folder_column}
    places = {column: {name: index for index, name in enumerate(names)} for column, names in listing.classes.items()}
    columns = {
        column: np.array([indices[picture.columns[column]] for picture in pictures], dtype=np.int64)
        for column, indices in places.items()
        if column not in ("labels", "box_label")
    }
    labels = None
    if "labels" in listing.classes:
        given = [set(picture.labels) for picture in pictures]
        labels = np.array([[name in here for name in listing.classes["labels"]] for here in given], dtype=np.float32)
    boxes = [_boxes(picture, places["box_label"]) for picture in pictures] if "box_label" in places else None
    text = [picture.captions for picture in pictures] if listing.captions else None
    return write_annotations(out, split, len(pictures), columns, text=text, labels=labels, boxes=boxes)


def _boxes(picture: Picture, places: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.array([box for _, box in picture.boxes], dtype=np.float64).reshape(-1, 4)
    return boxes, np.array([places[name] for name, _ in picture.boxes], dtype=np.int64)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the distinct names in byte order."""
    return sorted(set(names), key=str.encode)
