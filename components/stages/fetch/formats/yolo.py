"""Source ``yolo``: pictures with boxes in YOLO's text format, as Ultralytics, Darknet and labelImg write it.

``data.yaml`` has ``names`` (a list, or number: name) and ``train``, ``val``, ``test``: folders of pictures, lists of folders,
or text files with one picture a line. The label of ``images/a/b.jpg`` is ``labels/a/b.txt``: a line per box, its class number
and cx, cy, w, h relative to the picture, or a polygon x, y, x, y, ..., of which the box around it is taken. A picture without
a label has no boxes. Without data.yaml: ``images/``, ``labels/`` and the class names in ``classes.txt``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from components.core.config.strict import SettingsError, read_yaml
from components.stages.fetch.files.names import plain_name, relative_name, split_of
from components.stages.fetch.files.pictures import Listing, Own, OwnSettings, Picture
from components.stages.fetch.files.suffixes import FORMATS
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.boxes import BoxedSettings, Corners, Drawn, Placer

DATA = ("data.yaml", "data.yml", "dataset.yaml")
CLASSES = ("classes.txt", "obj.names", "labels/classes.txt")
MAX_TEXT = 2**27  # bytes of a label file or a list of pictures
MAX_YAML = 2**20


class Yolo(Own):
    """Images as files of varying size with boxes; classes as "box_label", in the order of their numbers; no label."""

    class Settings(BoxedSettings):
        data: str | None = Field(
            default=None,
            description="The YAML file, relative to `path`. Default: data.yaml, or else the only *.yaml with `names`.",
        )

    @classmethod
    def guess(cls, walk: Walk, file: str | None) -> dict[str, Any] | None:
        if file is not None:
            return {"data": file} if Path(file).suffix in (".yaml", ".yml") else None
        if any((walk.root / name).is_file() for name in DATA):
            return {}
        names = [path.name for path in walk.entries(walk.root) if path.suffix in (".yaml", ".yml")]
        if names:
            return {"data": names[0]} if "names" in _yaml(walk, walk.root / names[0]) else None
        return {} if (walk.root / "labels").is_dir() and any((walk.root / name).is_file() for name in CLASSES) else None

    @classmethod
    def read(cls, settings: OwnSettings, walk: Walk) -> Listing:
        assert isinstance(settings, Yolo.Settings)
        names, folders = _described(settings, walk)
        placer = Placer(settings, "displayed", walk.faults)
        listing = Listing({}, {"box_label": list(names.values())})
        for split, places in folders.items():
            images = {path: None for place in places for path in _images(place, walk)}
            listing.splits[split] = [_picture(path, names, placer, walk) for path in images]
        listing.notes = placer.notes()
        return listing


def _described(settings: Yolo.Settings, walk: Walk) -> tuple[dict[int, str], dict[str, list[Path]]]:
    """Return (number -> class name, split -> folders or lists of pictures). ValueError names what is missing."""
    names = [settings.data] if settings.data else [name for name in DATA if (walk.root / name).is_file()]
    if names:
        path = walk.root / relative_name(names[0], "data")
        content = _yaml(walk, path)
        return _names(content.get("names"), path), _places(content, path, walk)
    lists = [walk.root / name for name in CLASSES if (walk.root / name).is_file()]
    if not lists or not (walk.root / "images").is_dir():
        raise ValueError(f"{walk.root}: no data.yaml, and no images/, labels/ and classes.txt")
    lines = walk.read(lists[0], MAX_TEXT).decode("utf-8-sig", errors="replace").splitlines()
    folders = {split: [path] for path in walk.folders(walk.root / "images") if (split := split_of(path.name))}
    return _names([line.strip() for line in lines if line.strip()], lists[0]), folders or {"all": [walk.root / "images"]}


def _yaml(walk: Walk, path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path, walk.read(path, MAX_YAML).decode())
    except (OSError, UnicodeDecodeError, RecursionError, SettingsError) as error:
        raise ValueError(f"{path}: {error}") from None
    return content if isinstance(content, dict) else {}


def _names(given: Any, path: Path) -> dict[int, str]:
    """Return number -> name. ValueError for anything but a list of names, or numbers with names."""
    items = list(given.items()) if isinstance(given, dict) else list(enumerate(given)) if isinstance(given, list) else []
    if not items or any(type(key) is not int or not isinstance(name, str | int) for key, name in items):
        raise ValueError(f"{path}: names is {str(given)[:80]!r}; a list of class names is expected, or {{0: name, 1: name}}")
    names = {number: plain_name(str(name), path) for number, name in sorted(items)}
    if len(set(names.values())) < len(names):
        raise ValueError(f"{path}: a class name stands twice in names")
    return names


def _places(content: dict[str, Any], path: Path, walk: Walk) -> dict[str, list[Path]]:
    """Return split -> folders and lists of pictures."""
    places: dict[str, list[Path]] = {}
    for key, given in content.items():
        if given and (split := split_of(str(key))):
            items = given if isinstance(given, list) else [given]
            places[split] = [_place(str(item), content.get("path"), path, walk) for item in items]
    if not places:
        raise ValueError(f"{path}: no train, val or test")
    return places


def _place(item: str, base: Any, path: Path, walk: Walk) -> Path:
    """Return the folder or list ``item``, relative to ``path:`` of the YAML file or to the file itself.

    Exports say "../train/images" and mean "train/images"; ``path:`` is often a folder of another machine.
    """
    names = [item, item.removeprefix("../"), item.removeprefix("./")]
    bases = [path.parent / str(base), path.parent] if base else [path.parent]
    for folder in bases:
        for name in names:
            place = folder / name
            if place.exists() and (walk.follow_links or place.resolve().is_relative_to(walk.root.resolve())):
                return place
    raise ValueError(f"{path}: {item!r} does not exist in {walk.root}")


def _images(place: Path, walk: Walk) -> list[Path]:
    """List the pictures of a folder at any depth, or of a text file with one a line."""
    if place.is_dir():
        return walk.pictures(place)
    images = []
    for number, line in enumerate(walk.read(place, MAX_TEXT).decode(errors="replace").splitlines(), start=1):
        if line.strip():
            name = line.strip().removeprefix("./")
            try:
                below = (place.parent / name).relative_to(walk.root).as_posix()
                image = walk.file(relative_name(below, str(place)), f"{place}, line {number}")
            except ValueError:
                walk.faults.add(f"{place}, line {number}: {name!r} is no path inside {walk.root}")
                continue
            images += [image] if image and image.suffix.lower() in FORMATS else []
    return images


def _picture(image: Path, names: dict[int, str], placer: Placer, walk: Walk) -> Picture:
    name = image.relative_to(walk.root).as_posix()
    label = walk.root / _label(name)
    boxes = _boxes(label, names, walk) if label.is_file() else []
    return Picture(name, image, boxes=placer.place(image, boxes, None, name))


def _label(image: str) -> str:
    """Return the label file of a picture: the last folder ``images`` becomes ``labels``."""
    parts = image.rpartition(".")[0].split("/")
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return "/".join(parts) + ".txt"


def _boxes(label: Path, names: dict[int, str], walk: Walk) -> list[Drawn]:
    """Read a label file; a line that stands twice counts once, and one that is not valid becomes a fault."""
    boxes = []
    for line in dict.fromkeys(walk.read(label, MAX_TEXT).decode(errors="replace").splitlines()):
        try:
            if line.strip():
                boxes.append(_box(line, names, f"{label}: {line[:60]!r}"))
        except ValueError as error:
            walk.faults.add(f"{label}: {line[:60]!r}: {error}")
    return boxes


def _box(line: str, names: dict[int, str], where: str) -> Drawn:
    """Parse "class cx cy w h", or "class x y x y x y ..."."""
    first, *rest = line.split()
    try:
        number, values = int(float(first)), [float(value) for value in rest]
    except (ValueError, OverflowError):
        raise ValueError("numbers are expected") from None
    if number not in names:
        raise ValueError(f"class {number} is not in names, {min(names)} to {max(names)}")
    if len(values) == 4:
        cx, cy, w, h = values
        corners: Corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        corners = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    else:
        raise ValueError("a class number and cx cy w h, or the points of a polygon, are expected")
    return Drawn(names[number], corners, where, relative=True)
