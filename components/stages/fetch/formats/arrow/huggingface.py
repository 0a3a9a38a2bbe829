"""Source ``huggingface``: data sets that ``save_to_disk`` or ``to_parquet`` wrote, or Parquet shards of the Hub.

Pictures are bytes in a column of the files. The package ``datasets`` is not needed, and its scripts are never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from components.core.config.strict import Name
from components.stages.fetch.files.names import split_of
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, in_order
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.arrow.features import Roles, roles_of
from components.stages.fetch.formats.arrow.pictures import RowReader
from components.stages.fetch.formats.arrow.shards import find_shards, read_features
from components.stages.fetch.formats.boxes import BoxedSettings, Placer
from components.stages.fetch.formats.classes import index_order

Split = Literal["all", "train", "validation", "test"]


class HuggingFace(Own):
    """Images as files of varying size; column "label", further ones, several labels, captions, boxes. Splits: the set's."""

    class Settings(BoxedSettings):
        image: str | None = Field(default=None, description="Column with the pictures. Default: the only one of them.")
        label: str | None = Field(default=None, description="Column with the class. Default: the only ClassLabel, or label.")
        caption: str | None = Field(
            default=None, description="Column with a caption or a list of them. Default: caption, captions, text or sentences."
        )
        labels: str | None = Field(default=None, description="Column with a list of classes. Default: a list of ClassLabels.")
        objects: str | None = Field(
            default=None, description="Column with boxes: bbox in pixels and category, lists of equal length. Default: objects."
        )
        box_format: Literal["xywh", "xyxy"] = Field(
            default="xywh",
            description="Numbers of a bbox: left, upper, width, height (as in COCO), or left, upper, right, lower.",
        )
        columns: tuple[Name, ...] = Field(default=(), description="Further columns to take, as class names, such as a group.")
        splits: dict[Split, str] | None = Field(
            default=None, description="Our split: the set's own name of it. Default: by their usual names; others are an error."
        )

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        if file is not None:
            return None
        paths = [path for part in find_shards(walk).values() for path in part]
        if not paths:
            return None
        features, types = read_features(paths[0])
        has_pictures = "_type': 'Image" in str(features) or any(
            "bytes: " in kind or "binary" in kind for kind in types.values()
        )
        return {} if has_pictures else None

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, HuggingFace.Settings)
        shards = _splits(settings, walk)
        first = next((path for paths in shards.values() for path in paths), None)
        if first is None:
            raise ValueError(f"{walk.root}: no Parquet file, and no data set of save_to_disk")
        features, types = read_features(walk.note(first))
        chosen = {role: getattr(settings, role) for role in ("image", "label", "caption", "labels", "objects")}
        try:
            roles = roles_of(features, types, chosen | {f"columns: {name}": name for name in settings.columns})
        except ValueError as error:
            raise ValueError(f"{first}: {error}") from None
        placer = Placer(settings, "stored", walk.faults)
        sizes = {"width", "height"} <= set(types)
        reader = RowReader(roles, settings.columns, sizes, settings.box_format, placer=placer, walk=walk)
        listing = Listing({split: [p for path in paths for p in reader.pictures(path)] for split, paths in shards.items()})
        listing.captions = roles.caption is not None
        listing.classes = _classes(listing, roles, settings)
        listing.notes = [roles.said(), *placer.notes()]
        return listing


def _splits(settings: HuggingFace.Settings, walk: Walk) -> dict[str, list[Path]]:
    """Return our split -> shards. ValueError for a split of an unknown name."""
    found = find_shards(walk)
    if settings.splits is not None:
        if missing := sorted(set(settings.splits.values()) - set(found)):
            raise ValueError(f"{walk.root}: no split {missing[0]!r}; the set has {', '.join(found) or 'none'}")
        return {ours: found[theirs] for ours, theirs in settings.splits.items()}
    if len(found) == 1 and "" in found:
        return {"all": found[""]}
    splits: dict[str, list[Path]] = {}
    for name, paths in found.items():
        split = split_of(name)
        if split is None or split in splits:
            fault = f"the split {name!r} is none of train, validation and test" if split is None else f"two {split} splits"
            raise ValueError(f"{walk.root}: {fault}; splits: {{train: {name}}} chooses")
        splits[split] = paths
    return splits


def _classes(listing: Listing, roles: Roles, settings: HuggingFace.Settings) -> dict[str, list[str]]:
    """Return the class names of each column, in the order of the set's own numbers if it names them."""
    pictures = [picture for part in listing.splits.values() for picture in part]
    columns = {"label": roles.label} | {name: name for name in settings.columns}
    classes = {
        ours: roles.names.get(theirs) or index_order(picture.columns[ours] for picture in pictures)
        for ours, theirs in columns.items()
        if theirs
    }
    if roles.labels:
        classes["labels"] = roles.names.get(roles.labels) or in_order(name for p in pictures for name in p.labels)
    if roles.objects:
        classes["box_label"] = roles.names.get("objects") or in_order(name for p in pictures for name, _ in p.boxes)
    return classes
