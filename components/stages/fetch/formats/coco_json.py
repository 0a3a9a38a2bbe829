"""Read a JSON file in COCO format (https://cocodataset.org/#format-data): boxes of objects, or captions.

``images`` (id, file_name, width, height), ``categories`` (id, name) and ``annotations`` (image_id and category_id with
bbox = [x, y, w, h] in pixels, or caption). Annotations with ``iscrowd`` 1 are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import Drawn
from components.stages.fetch.formats.documents import read_json


@dataclass
class CocoImage:
    """An image of the file. ``frame``: (width, height) as annotated, if it is."""

    file: str
    frame: tuple[float, float] | None
    boxes: list[Drawn] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Coco:
    """``images``: file name -> image; ``categories``: names in the order of the file; ``captions``: whether it has captions."""

    images: dict[str, CocoImage]
    categories: list[str]
    captions: bool


def read_coco(path: Path, walk: Walk) -> Coco:
    """Read the file. Faults of annotations are added to ``walk.faults``; ValueError for a file of another structure."""
    given = read_json(walk, path)
    try:
        images = {image["id"]: CocoImage(str(image["file_name"]), _frame(image)) for image in given["images"]}
        categories = {category["id"]: str(category["name"]) for category in given.get("categories", [])}
        annotations = [annotation for annotation in given["annotations"] if not annotation.get("iscrowd")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        fault = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not in COCO's format: {fault}") from None
    named = {image.file: image for image in images.values()}
    if len(named) < len(images) or len(set(categories.values())) < len(categories):
        raise ValueError(f"{path}: two images or two categories have the same name")
    for number, annotation in enumerate(annotations):
        try:
            _add(annotation, images, categories, f"{path}: annotation {number}")
        except ValueError as error:
            walk.faults.add(str(error))
    return Coco(named, list(categories.values()), any("caption" in annotation for annotation in annotations))


def _frame(image: dict[str, Any]) -> tuple[float, float] | None:
    width, height = image.get("width"), image.get("height")
    return (float(width), float(height)) if width and height else None


def _add(annotation: dict[str, Any], images: dict[Any, CocoImage], categories: dict[Any, str], where: str) -> None:
    """Add an annotation to its image. ValueError for one that is not valid."""
    image, category, box = images.get(annotation.get("image_id")), annotation.get("category_id"), annotation.get("bbox")
    if image is None:
        raise ValueError(f"{where}: image_id {annotation.get('image_id')!r} is not listed")
    if box is None and isinstance(caption := annotation.get("caption"), str):
        image.captions.append(caption.strip())
        return
    if category not in categories:
        raise ValueError(f"{where}: category_id {category!r} is not listed")
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise ValueError(f"{where} of {image.file}: the box {box!r} is not [x, y, w, h]")
    x, y, w, h = map(float, box)
    image.boxes.append(Drawn(categories[category], (x, y, x + w, y + h), f"{where} of {image.file}: the box {box}"))
