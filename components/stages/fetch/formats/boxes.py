"""Boxes in pixels of an annotated picture become relative to the picture as it is displayed, EXIF orientation applied."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from pydantic import Field

from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.pack import Content
from components.stages.fetch.files.pictures import Box, OwnSettings

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

BEYOND = 1.0  # pixels: how far rounding may put a box beyond the edge
ORIENTATION = 0x0112  # EXIF tag
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
Corners = tuple[float, float, float, float]  # left, upper, right, lower


class BoxedSettings(OwnSettings):
    """Settings of sources with boxes."""

    boxes_on: Literal["auto", "stored", "displayed"] = Field(
        default="auto",
        description="Picture that the boxes were drawn on: as stored in the file, or as displayed, with its EXIF orientation "
        "applied. auto: whichever has the width and height that the annotation states; where these do not tell, stored for "
        "COCO and VOC, displayed for YOLO.",
    )
    invalid_boxes: Literal["error", "clip"] = Field(
        default="error",
        description="Boxes without area or beyond the picture's edge by more than a pixel are an error, or clipped to the "
        "picture and left out if nothing remains.",
    )


@dataclass(frozen=True)
class Drawn:
    """A box as annotated. ``corners``: pixels of the annotated picture, or relative to it with ``relative``.

    ``where``: the place and the box as it stands there.
    """

    name: str
    corners: Corners
    where: str
    relative: bool = False


@dataclass
class Placer:
    """Convert the boxes of pictures and collect faults. ``usual``: what ``boxes_on: auto`` means if sizes do not tell."""

    settings: BoxedSettings
    usual: Literal["stored", "displayed"]
    faults: Faults
    clipped: int = 0
    left_out: int = 0

    def place(self, content: Content, boxes: list[Drawn], annotated: tuple[float, float] | None, where: str) -> list[Box]:
        """Convert the boxes of one picture. ``annotated``: (width, height) that the annotation states, if it does."""
        try:
            stored, orientation = read_header(content)
            size, turn = self._frame(stored, orientation, annotated)
        except ValueError as error:
            self.faults.add(f"{where}: {error}")
            return []
        return [(box.name, turned(corners, turn)) for box in boxes if (corners := self._relative(box, size))]

    def _frame(
        self, stored: tuple[int, int], orientation: int, annotated: tuple[float, float] | None
    ) -> tuple[tuple[int, int], int]:
        """Return ((width, height) of the picture that boxes were drawn on, the orientation to apply to them)."""
        displayed = stored[::-1] if orientation in SIDEWAYS else stored
        sizes = [(float(width), float(height)) for width, height in (stored, displayed)]
        if annotated and sizes.count(annotated) == 0:
            fault = f"{stored[0]} x {stored[1]} pixels, its annotation says {annotated[0]:g} x {annotated[1]:g}"
            raise ValueError(f"the picture has {fault}")
        drawn_on = self.settings.boxes_on
        if drawn_on == "auto":
            told = "stored" if annotated == sizes[0] else "displayed"
            drawn_on = told if annotated and stored != displayed else self.usual  # type: ignore[assignment]
        return (stored, orientation) if drawn_on == "stored" else (displayed, 1)

    def _relative(self, box: Drawn, size: tuple[int, int]) -> Corners | None:
        """Return the corners relative to the annotated picture, clipped; None for a box that is left out or a fault."""
        sizes = (size[0], size[1]) * 2
        given = [value * (side if box.relative else 1) for value, side in zip(box.corners, sizes, strict=True)]
        left, upper, right, lower = (
            min(max(value, 0), side) if math.isfinite(value) else math.nan for value, side in zip(given, sizes, strict=True)
        )
        if not (left < right and upper < lower):
            if self.settings.invalid_boxes == "error" or math.isnan(left + upper + right + lower):
                inside = given[0] < given[2] and given[1] < given[3]
                fault = f"is not inside the picture, {size[0]} x {size[1]} pixels" if inside else "has no area"
                self.faults.add(f"{box.where} of {box.name!r} {fault}; invalid_boxes: clip leaves it out")
            self.left_out += 1
            return None
        beyond = max(abs(a - b) for a, b in zip(given, (left, upper, right, lower), strict=True)) > BEYOND
        if beyond and self.settings.invalid_boxes == "error":
            fault = f"is not inside the picture, {size[0]} x {size[1]} pixels"
            self.faults.add(f"{box.where} of {box.name!r} {fault}; invalid_boxes: clip cuts it")
        self.clipped += beyond
        return left / size[0], upper / size[1], right / size[0], lower / size[1]

    def notes(self) -> list[str]:
        """Describe what was changed, for the log."""
        return [f"{self.clipped} boxes clipped, {self.left_out} left out"] if self.clipped or self.left_out else []


def turned(corners: Corners, orientation: int) -> Corners:
    """Apply an EXIF orientation, 1 to 8 (tag 0x0112), to relative corners; return (cx, cy, w, h)."""
    left, upper, right, lower = corners
    if orientation in SIDEWAYS:  # the stored x runs along the displayed y
        left, upper, right, lower = upper, left, lower, right
    if orientation in (2, 3, 6, 7):
        left, right = 1 - right, 1 - left
    if orientation in (3, 4, 7, 8):
        upper, lower = 1 - lower, 1 - upper
    return (left + right) / 2, (upper + lower) / 2, right - left, lower - upper


def read_header(content: Content) -> tuple[tuple[int, int], int]:
    """Return ((width, height) as stored, EXIF orientation 1 to 8) without decoding pixels. ValueError for a broken file."""
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content.read()) as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a size that stage 2 judges
                image = _open(file)
                return image.size, 1 if _is_plain_png(image, file) else _orientation(image)
        except Exception as error:  # on broken files PIL raises nearly everything
            message = " ".join(str(error).replace(f"{file!r}", "the file").split())
            raise ValueError(f"no readable picture: {message or type(error).__name__}") from None


def _open(file: IO[bytes]) -> ImageFile:
    """Read the header; that of a JPEG of any size, which stage 2 can decode at reduced scale."""
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    from components.serving.decoding import formats

    start = file.read(3)
    file.seek(0)
    return JpegImageFile(file) if start == b"\xff\xd8\xff" else Image.open(file, formats=formats())


def _is_plain_png(image: ImageFile, file: IO[bytes]) -> bool:
    """Return whether a PNG has no EXIF, which may stand behind its pixels: Pillow would decode them to look there."""
    if image.format != "PNG" or "exif" in image.info:
        return False
    place = file.tell()
    file.seek(0)
    found = b"eXIf" in file.read()
    file.seek(place)
    return not found


def _orientation(image: ImageFile) -> int:
    orientation = image.getexif().get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1
