"""Read a fetched dataset: per split a stream of encoded pictures with columns and annotations, in one of four layouts.

The files of dataset.json are documented in ``components.stages.fetch.dataset_files``, which writes them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from components.stages.augment.raw.annotations import (
    ANNOTATIONS,
    Annotations,
    check_annotations,
    load_array,
    read_annotations,
)
from components.stages.augment.raw.binary import read_cifar10, read_idx

SPLITS = ("all", "train", "validation", "test")

Classes = dict[str, tuple[str, ...]]  # column -> names in index order
Pictures = Callable[[], Iterator[np.ndarray | bytes]]


@dataclass(frozen=True)
class RawSplit:
    """A split of a raw dataset. ``columns``: int64 [N]; ``name(i)``: the name of picture i in error messages.

    ``pictures()`` yields the N pictures in order: uint8 [H, W] or [H, W, C], or the bytes of an image file; ``at(i)``: picture
    i alone, if the layout can read it without those before.
    """

    count: int
    columns: dict[str, np.ndarray]
    annotations: Annotations
    name: Callable[[int], str]
    pictures: Pictures
    at: Callable[[int], np.ndarray | bytes] | None = None

    def __len__(self) -> int:
        return self.count

    def picture(self, index: int) -> np.ndarray | bytes:
        """Read one picture."""
        return self.at(index) if self.at else next(islice(self.pictures(), index, None))


def read_dataset(folder: Path) -> tuple[dict[str, RawSplit], Classes]:
    """Read (split -> raw split, column -> class names). ValueError names an invalid file."""
    index = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    readers: dict[str, Callable[[Path, Any, Classes], RawSplit]] = {
        "arrays": _read_arrays,
        "idx": _read_idx,
        "cifar10": _read_cifar10,
        "files": _read_files,
    }
    if index["layout"] not in readers:
        raise ValueError(f"{folder}/dataset.json: unknown layout {index['layout']!r}; allowed: {', '.join(readers)}")
    classes = {column: tuple(names) for column, names in index["classes"].items()}
    splits = {split: readers[index["layout"]](folder, entry, classes) for split, entry in index["splits"].items()}
    if unknown := set(splits) - set(SPLITS):
        raise ValueError(f"{folder}/dataset.json: unknown splits {sorted(unknown)}; allowed: {', '.join(SPLITS)}")
    for kind in ("texts", "labels", "boxes"):
        if len({getattr(raw.annotations, kind) is None for raw in splits.values()}) > 1:
            raise ValueError(f"{folder}/dataset.json: some splits have {kind} and some have none")
    for split, raw in splits.items():
        _check_columns(raw, classes, f"{folder}, split {split}")
        check_annotations(raw.annotations, classes, raw.name, f"{folder}, split {split}")
    return splits, classes


def _check_columns(raw: RawSplit, classes: Classes, where: str) -> None:
    if len(raw) == 0:
        raise ValueError(f"{where}: no images")
    if set(raw.columns) != set(classes) - set(raw.annotations.class_keys):
        raise ValueError(f"{where}: columns {sorted(raw.columns)}, but class names for {sorted(classes)}")
    for column, indices in raw.columns.items():
        if indices.shape != (len(raw),):
            raise ValueError(f"{where}: column {column!r} has the shape {indices.shape}, expected [{len(raw)}]")
        if indices.min() < 0 or indices.max() >= len(classes[column]):
            raise ValueError(
                f"{where}: column {column!r} holds {indices.min()}..{indices.max()}, it has {len(classes[column])} classes"
            )


def _read_columns(folder: Path, entry: dict[str, Any], own: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the columns of an entry: all its keys except the layout's ``own`` ones and those of annotations."""
    names = [name for name in entry if name not in (*own, *ANNOTATIONS)]
    if reserved := sorted({"image", "image_mask", "tokens", "box_mask"} & set(names)):
        raise ValueError(f"{folder}/dataset.json: {reserved[0]!r} cannot be a column: it is a key of the batch contract")
    return {name: load_array(folder / entry[name], np.int64) for name in names}


def _read_arrays(folder: Path, entry: dict[str, str], classes: Classes) -> RawSplit:
    images = load_array(folder / entry["image"], np.uint8)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(f"{folder / entry['image']}: shape {images.shape}, expected [N, H, W] or [N, H, W, 1 or 3]")
    columns = _read_columns(folder, entry, ("image",))
    for column, indices in columns.items():
        _same_length(images, indices, folder / entry["image"], folder / entry[column])
    annotations = read_annotations(folder, entry, len(images))
    return _of_array(images, columns, annotations, entry["image"])


def _of_array(images: np.ndarray, columns: dict[str, np.ndarray], annotations: Annotations, name: str) -> RawSplit:
    def at(index: int) -> np.ndarray:
        picture: np.ndarray = images[index]
        return picture

    return RawSplit(len(images), columns, annotations, lambda i: f"{name}[{i}]", lambda: iter(images), at)


def _same_length(images: Any, labels: Any, images_path: Path, labels_path: Path) -> None:
    if len(images) != len(labels):
        raise ValueError(f"{images_path.name} has {len(images)} images, {labels_path.name} {len(labels)} labels")


def _read_idx(folder: Path, entry: dict[str, str], classes: Classes) -> RawSplit:
    images, labels = read_idx(folder / entry["image"], 3), read_idx(folder / entry["label"], 1)
    _same_length(images, labels, folder / entry["image"], folder / entry["label"])
    return _of_array(images, {"label": labels.astype(np.int64)}, Annotations(), entry["image"])


def _read_cifar10(folder: Path, entry: dict[str, list[str]], classes: Classes) -> RawSplit:
    records = [read_cifar10(folder / name) for name in entry["batches"]]
    labels = np.concatenate([batch[:, 0] for batch in records]).astype(np.int64)
    names = [(name, len(batch)) for name, batch in zip(entry["batches"], records, strict=True)]

    def pictures() -> Iterator[np.ndarray]:
        return (record[1:].reshape(3, 32, 32).transpose(1, 2, 0) for batch in records for record in batch)

    return RawSplit(len(labels), {"label": labels}, Annotations(), lambda i: _place(names, i), pictures)


def _place(files: Sequence[tuple[str, int]], index: int) -> str:
    for name, count in files:
        if index < count:
            return f"{name}[{index}]"
        index -= count
    raise AssertionError(index)


def _read_files(folder: Path, entry: dict[str, str], classes: Classes) -> RawSplit:
    path = folder / entry["archive"]
    members = _members(path)
    columns = _read_columns(folder, entry, ("archive", "column"))
    if "column" in entry:
        columns[entry["column"]] = _labels_of_folders(members, path, classes[entry["column"]])
    annotations = read_annotations(folder, entry, len(members))
    return RawSplit(
        len(members),
        columns,
        annotations,
        lambda i: members[i].name,
        lambda: _contents(path, members),
        lambda i: next(_contents(path, members[i : i + 1])),
    )


def _labels_of_folders(members: list[tarfile.TarInfo], path: Path, classes: tuple[str, ...]) -> np.ndarray:
    indices = {name: index for index, name in enumerate(classes)}
    folders = [member.name.split("/")[0] for member in members]
    if unknown := set(folders) - set(indices):
        raise ValueError(f"{path}: folders that are no class: {', '.join(sorted(unknown)[:5])}")
    return np.array([indices[name] for name in folders], dtype=np.int64)


def _members(path: Path) -> list[tarfile.TarInfo]:
    data_end = path.stat().st_size - 1024
    try:
        with path.open("rb") as file:  # tarfile does not detect an archive truncated between members
            whole = data_end >= 0 and file.seek(data_end) == data_end and not any(file.read())
        with tarfile.open(path, "r:") as archive:
            members = [member for member in archive if member.isfile()]
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a readable tar archive: {error}") from None
    if not whole:
        raise ValueError(f"{path}: the archive is cut off")
    return members


def _contents(path: Path, members: list[tarfile.TarInfo]) -> Iterator[bytes]:
    with path.open("rb") as file:
        for member in members:
            file.seek(member.offset_data)
            yield file.read(member.size)
