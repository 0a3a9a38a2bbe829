"""Source ``webdataset``: pictures in tars, ``<key>.jpg`` with ``<key>.cls``, ``<key>.txt`` and ``<key>.json`` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.core.config.strict import Name
from components.stages.fetch.files.names import relative_name
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, in_order
from components.stages.fetch.files.suffixes import FORMATS
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.classes import index_order
from components.stages.fetch.formats.tars.samples import SampleReader, read_document
from components.stages.fetch.formats.tars.shards import MAX_MEMBER, expand, find_shards, read_shard

Split = Literal["all", "train", "validation", "test"]
PLACE = 'an extension such as cls or txt, or "json.<key>" for a key of the JSON document'


class WebDataset(Own):
    """Images as files of varying size; column "label", further ones, several labels, captions. Splits: by the tars' names."""

    class Settings(OwnSettings):
        shards: str | dict[Split, str] | None = Field(
            default=None,
            description='Tars, relative to `path`: "train-{000..012}.tar", or one such pattern a split. Default: all tars in '
            "`path` and its folders, by the words train, val and test in their names.",
        )
        image: str | None = Field(default=None, description="Extension of the pictures. Default: the only one of an image.")
        label: str | None = Field(default=None, description=f"Class of a picture: {PLACE}. Default: cls, if there.")
        caption: str | None = Field(default=None, description=f"Caption, or list of captions: {PLACE}. Default: txt, if there.")
        labels: str | None = Field(default=None, description=f"List of classes a picture: {PLACE}.")
        columns: dict[Name, str] = Field(
            default_factory=dict, description=f"Further columns of class names, such as group: {PLACE}."
        )
        classes: str | None = Field(
            default=None, description="Text file in `path` with the name of class 0, 1, ... in its lines."
        )

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        if file is not None and not file.endswith(".tar"):
            return None
        shards = {"all": [walk.root / file]} if file else find_shards(walk)
        beside = [path for folder in walk.folders(walk.root) for path in walk.entries(folder) if path.suffix.lower() in FORMATS]
        if not shards or (beside and not file):
            return None
        _, sample = next(read_shard(next(iter(shards.values()))[0], walk), ("", {}))
        if not any(f".{extension}" in FORMATS for extension in sample):
            return None
        found: dict[str, Any] = {"shards": file} if file else {}
        document = read_document(sample, "") if "json" in sample else {}
        for role, own, keys in (("label", "cls", ("label", "class")), ("caption", "txt", ("caption", "captions", "text"))):
            key = next((key for key in keys if isinstance(document.get(key), str | int | list)), None)
            found |= {role: f"json.{key}"} if key and own not in sample else {}
        return found

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, WebDataset.Settings)
        names = _class_names(settings, walk)
        listing = Listing({})
        samples = {
            split: [(path, sample) for path in paths for sample in read_shard(walk.note(path), walk)]
            for split, paths in _shards(settings, walk).items()
        }
        extensions = {extension for part in samples.values() for _, (_, sample) in part for extension in sample}
        places = {"label": settings.label or ("cls" if "cls" in extensions else None), **settings.columns}
        caption = settings.caption or ("txt" if "txt" in extensions else None)
        roles = {role: place for role, place in (places | {"caption": caption, "labels": settings.labels}).items() if place}
        reader = SampleReader(roles, settings.image, names, walk)
        for split, part in samples.items():
            made = (reader.picture(path, sample) for path, sample in part)
            listing.splits[split] = [picture for picture in made if picture]
        pictures = [picture for part in listing.splits.values() for picture in part]
        for column in (role for role in roles if role not in ("caption", "labels")):
            numbered = column == "label" and names is not None
            listing.classes[column] = list(names or ()) if numbered else index_order(p.columns[column] for p in pictures)
        if "labels" in roles:
            listing.classes["labels"] = names or in_order(name for picture in pictures for name in picture.labels)
        listing.captions = "caption" in roles
        return listing


def _shards(settings: WebDataset.Settings, walk: Walk) -> dict[str, list[Path]]:
    """Return split -> tars. ValueError if there is none; missing ones become faults."""
    if settings.shards is None:
        found = find_shards(walk)
        if not found and not walk.faults.lines:
            raise ValueError(f"{walk.root}: no tar in it or in its folders")
        return found
    patterns = settings.shards if isinstance(settings.shards, dict) else {"all": settings.shards}
    shards = {
        split: [walk.root / relative_name(name, "shards") for name in expand(pattern)] for split, pattern in patterns.items()
    }
    for path in (path for paths in shards.values() for path in paths if not path.is_file()):
        walk.faults.add(f"{path}: no such file")
    return {split: [path for path in paths if path.is_file()] for split, paths in shards.items()}


def _class_names(settings: WebDataset.Settings, walk: Walk) -> list[str] | None:
    if settings.classes is None:
        return None
    path = walk.root / relative_name(settings.classes, "classes")
    return [line.strip() for line in walk.read(path, MAX_MEMBER).decode("utf-8-sig").splitlines() if line.strip()]
