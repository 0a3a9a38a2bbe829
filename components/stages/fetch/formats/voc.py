"""Source ``voc``: pictures with boxes in Pascal VOC's XML format (Everingham and others, IJCV 88, 2010).

``Annotations/<name>.xml``, ``JPEGImages/<name>.jpg`` and ``ImageSets/Main/{train,val,trainval,test}.txt``, one name a line; or
XML files beside the pictures, in the folder or in ``train/``, ``valid/`` and ``test/``. Coordinates count pixels from 1, and
the last pixel of a box belongs to it (development kit, section 3.2): 1, 1, width, height is the whole picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element

from pydantic import Field

from components.stages.fetch.files.names import plain_name, split_of
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, Picture, in_order
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import BoxedSettings, Drawn, Placer
from components.stages.fetch.formats.documents import MAX_XML, parse_xml

SETS = "ImageSets/Main"
ANNOTATIONS = ("Annotations", "annotations")
IMAGES = ("JPEGImages", "images")
Pairs = dict[str, tuple[Path, Path | None]]  # name -> (picture, annotation if there is one)


class Voc(Own):
    """Images as files of varying size with boxes, classes in byte order as "box_label"; no label. Splits: the published."""

    class Settings(BoxedSettings):
        difficult: Literal["keep", "drop"] = Field(
            default="keep", description="Objects that are marked as difficult are objects like others, or left out."
        )
        first_pixel: Literal[0, 1] = Field(
            default=1,
            description="Number of the first pixel of a row or column: 1 in Pascal VOC, where a box includes its last pixel; 0 "
            "in files of tools that write xmax = xmin + width.",
        )

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        if file is not None:
            return None
        folders = [walk.root, *(walk.root / name for name in ANNOTATIONS), *walk.folders(walk.root)]
        return {} if any(_is_annotation(path) for folder in folders for path in _xmls(folder)[:1]) else None

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, Voc.Settings)
        placer = Placer(settings, "stored", walk.faults)
        listing = Listing({})
        for split, pairs in _splits(walk).items():
            listing.splits[split] = [
                picture for image, xml in pairs.values() if (picture := _picture(image, xml, placer, settings, walk))
            ]
        pictures = [picture for part in listing.splits.values() for picture in part]
        listing.classes["box_label"] = in_order(name for picture in pictures for name, _ in picture.boxes)
        if pictures and not listing.classes["box_label"]:
            walk.faults.add(f"{walk.root}: no boxes in any annotation")
        listing.notes = placer.notes()
        return listing


def _splits(walk: Walk) -> dict[str, Pairs]:
    """Return split -> pairs of the layout found. ValueError if there is none."""
    xmls, images = _below(walk.root, ANNOTATIONS), _below(walk.root, IMAGES)
    if xmls and images:
        pairs = _pairs(images, xmls, walk)
        lists = {name: walk.root / SETS / f"{name}.txt" for name in ("train", "val", "trainval", "test")}
        lists = {name: path for name, path in lists.items() if path.is_file()}
        if "train" in lists or "val" in lists:
            lists.pop("trainval", None)  # the two together
        return {SPLIT[name]: _listed(path, pairs, walk) for name, path in lists.items()} or {"all": pairs}
    named = {split: path for path in walk.folders(walk.root) if (split := split_of(path.name)) and _xmls(path)}
    if named:
        return {split: _pairs(path, path, walk) for split, path in named.items()}
    if _xmls(walk.root):
        return {"all": _pairs(walk.root, walk.root, walk)}
    raise ValueError(f"{walk.root}: no Annotations/*.xml with JPEGImages/, and no XML files beside pictures")


SPLIT = {"train": "train", "val": "validation", "trainval": "train", "test": "test"}


def _below(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _xmls(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.xml")) if folder.is_dir() else []


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotation" in file.read(1000)


def _pairs(images: Path, xmls: Path, walk: Walk) -> Pairs:
    """Pair pictures and annotations by their names without suffix. An annotation without a picture becomes a fault."""
    pictures: dict[str, Path] = {}
    for path in walk.pictures(images):
        other = pictures.setdefault(path.with_suffix("").relative_to(images).as_posix(), path)
        if other != path:
            walk.faults.add(f"{path}: {other.name} has the same annotation")
    found = {path.stem: path for path in walk.entries(xmls) if path.suffix.lower() == ".xml"}
    for name in sorted(set(found) - set(pictures), key=str.encode):
        walk.faults.add(f"{found[name]}: there is no picture {name}.* in {images}")
    return {name: (path, found.get(name)) for name, path in pictures.items()}


def _listed(path: Path, pairs: Pairs, walk: Walk) -> Pairs:
    """Select the pictures in a file of ImageSets/Main; one that is missing becomes a fault."""
    chosen: Pairs = {}
    for number, line in enumerate(walk.read(path, MAX_XML).decode(errors="replace").splitlines(), start=1):
        name = line.split()[0] if line.strip() else ""
        if name and name not in pairs:
            walk.faults.add(f"{path}, line {number}: there is no picture {plain_name(name, path)}")
        elif name:
            chosen[name] = pairs[name]
    return chosen


def _picture(image: Path, xml: Path | None, placer: Placer, settings: Voc.Settings, walk: Walk) -> Picture | None:
    """Return the picture with its boxes; None for an annotation that cannot be read, which becomes a fault."""
    try:
        boxes, size = _boxes(parse_xml(walk.read(xml, MAX_XML), str(xml)), settings, str(xml)) if xml else ([], None)
    except ValueError as error:
        walk.faults.add(str(error))
        return None
    return Picture(image.relative_to(walk.root).as_posix(), image, boxes=placer.place(image, boxes, size, str(xml or image)))


def _boxes(root: Element, settings: Voc.Settings, where: str) -> tuple[list[Drawn], tuple[float, float] | None]:
    """Return (boxes, (width, height) if the annotation states them)."""
    width, height = (_number(root.find(f"size/{side}"), f"{where}: size") for side in ("width", "height"))
    boxes = []
    for number, item in enumerate(root.findall("object"), start=1):
        place = f"{where}: object {number}"
        name = (item.findtext("name") or "").strip()
        frame = item.find("bndbox")
        if not name or frame is None:
            raise ValueError(f"{place}: name and bndbox are needed")
        if settings.difficult == "drop" and (item.findtext("difficult") or "").strip() == "1":
            continue
        corners = [_number(frame.find(key), f"{place}: {key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        if None in corners:
            raise ValueError(f"{place}: xmin, ymin, xmax and ymax are needed")
        left, upper, right, lower = (float(value or 0) for value in corners)
        first = settings.first_pixel
        box = f"{place}: the box [{left:g}, {upper:g}, {right:g}, {lower:g}]"
        boxes.append(Drawn(plain_name(name, where), (left - first, upper - first, right, lower), box))
    return boxes, (width, height) if width and height else None


def _number(element: Element | None, where: str) -> float | None:
    """Return the number in an element; None without the element."""
    if element is None:
        return None
    try:
        return float(element.text or "")
    except ValueError:
        raise ValueError(f"{where}: {element.text!r} is no number") from None
