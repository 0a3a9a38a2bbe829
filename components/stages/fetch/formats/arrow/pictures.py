"""Rows of a Hugging Face data set become pictures with class, captions and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from components.stages.fetch.files.names import plain_name
from components.stages.fetch.files.pictures import Picture
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.arrow.features import Roles
from components.stages.fetch.formats.arrow.shards import Cell, Images, read_rows
from components.stages.fetch.formats.boxes import Corners, Drawn, Placer
from components.stages.fetch.formats.classes import class_of

CATEGORIES = ("category", "categories", "label", "labels", "category_id")


@dataclass(frozen=True)
class RowReader:
    """A reader of rows. ``columns``: further columns to take; ``sizes``: the set has columns width and height."""

    roles: Roles
    columns: Sequence[str]
    sizes: bool
    box_format: Literal["xywh", "xyxy"]
    placer: Placer
    walk: Walk

    def pictures(self, shard: Path) -> Iterator[Picture]:
        """Yield the pictures of a shard; invalid rows become faults."""
        roles = self.roles
        images = Images(self.walk.note(shard), roles.image, roles.field)
        wanted = [*self.columns, roles.label, roles.caption, roles.labels, roles.objects]
        wanted += ["width", "height"] if self.sizes and roles.objects else []
        wanted += [f"{roles.image}.path"] if roles.field else []
        number = -1
        for number, row in enumerate(read_rows(shard, list(dict.fromkeys(filter(None, wanted))) or [roles.image])):
            try:
                yield self._picture(row, Cell(images, number), shard)
            except ValueError as error:
                self.walk.faults.add(f"{shard}, row {number}: {error}")

    def _picture(self, row: dict[str, Any], cell: Cell, shard: Path) -> Picture:
        roles, names = self.roles, self.roles.names
        picture = Picture(self._name(row, cell, shard), cell)
        if roles.label:
            picture.columns["label"] = class_of(row[roles.label], names.get(roles.label))
        picture.columns |= {column: class_of(row[column], names.get(column)) for column in self.columns}
        if roles.caption:
            value = row[roles.caption]
            picture.captions = [str(text).strip() for text in (value if isinstance(value, list) else [value]) if text]
        if roles.labels:
            picture.labels = tuple(class_of(value, names.get(roles.labels)) for value in row[roles.labels] or ())
        if roles.objects:
            frame = (float(row["width"]), float(row["height"])) if self.sizes else None
            boxes = self._boxes(row[roles.objects], f"{shard}, row {cell.row}")
            picture.boxes = self.placer.place(cell, boxes, frame, f"{shard}, row {cell.row}")
        return picture

    def _name(self, row: dict[str, Any], cell: Cell, shard: Path) -> str:
        """Return "<shard>/<row>-<the picture's own file name>": in the order of the rows, which are read in one pass."""
        path = (row.get(self.roles.image) or {}).get("path") if self.roles.field else None
        own = PurePosixPath(str(path).replace("\\", "/")).name if path else ""
        place = shard.relative_to(self.walk.root).with_suffix("").as_posix()
        return f"{place}/{cell.row:08}" + (f"-{plain_name(own, shard)}" if own else "")

    def _boxes(self, objects: Any, where: str) -> list[Drawn]:
        """Return the boxes of a row: a struct of lists, or a list of structs."""
        if isinstance(objects, list):
            objects = {key: [item[key] for item in objects] for key in (objects[0] if objects else ())}
        boxes = (objects or {}).get("bbox") or []
        key = next((key for key in CATEGORIES if key in (objects or {})), None)
        if boxes and (key is None or len(objects[key]) != len(boxes)):
            raise ValueError(f"{len(boxes)} boxes need as many classes ({', '.join(CATEGORIES)})")
        return [
            Drawn(class_of(name, self.roles.names.get("objects")), self._corners(box), f"{where}: the box {box}")
            for box, name in zip(boxes, objects[key] if key else (), strict=True)
        ]

    def _corners(self, box: Any) -> Corners:
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
            raise ValueError(f"the box {box!r} is not four numbers")
        left, upper, third, fourth = map(float, box)
        return (left, upper, left + third, upper + fourth) if self.box_format == "xywh" else (left, upper, third, fourth)
