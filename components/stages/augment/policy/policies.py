"""Settings of a view. Every command reads them, so this module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.core.config.strict import Name, Strict
from components.serving.preparation import Preparation
from components.stages.augment.policy.strokes import StrokeSettings
from components.stages.augment.policy.text import TextSettings


def image_size(value: Any) -> int | tuple[int, int]:
    """Parse a side or [height, width] in pixels; equal ones become a side. ValueError for anything else."""
    sides = value if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and 8 <= side <= 1024 for side in sides):
        raise ValueError("a side or [height, width] is expected, from 8 to 1024 pixels")
    return sides[0] if sides[0] == sides[1] else (sides[0], sides[1])


ImageSize = Annotated[int | tuple[int, int], BeforeValidator(image_size)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
ClassNames = Annotated[tuple[str, ...], Field(min_length=1)]
Transforms = tuple[dict[str, Any], ...]  # - Affine: {rotate: [-10, 10], p: 0.8}


class Splits(Strict):
    """How to divide missing splits from a dataset's only split or its published training split.

    ``by: image`` takes fractions of the images, stratified by class, and with ``column`` whole groups of that column (patients,
    pages, videos), stratified as far as whole groups can be; ``by: group`` takes whole groups of ``column`` in random order,
    about the given fractions of the images; ``by: <column>`` holds out whole classes of the column, by name or as a fraction of
    its classes. ``folds: 5, fold: 0`` makes the test split one of five parts of equal size, of images, groups or classes
    as ``by`` says: the five views of folds 0 to 4 test every image once. Published splits are unchanged; requesting one that is
    published is an error.
    """

    by: str = Field(default="image", description='what is divided: "image", "group", or a column of the dataset')
    column: str = Field(default="group", description="column whose groups stay whole, with by: group or by: image")
    validation: Fraction | ClassNames | None = Field(default=None, description="fraction, or classes with by: <column>")
    test: Fraction | ClassNames | None = Field(default=None, description="fraction, or classes with by: <column>")
    folds: int | None = Field(default=None, ge=2, le=100, description="number of folds of a cross-validation; replaces test")
    fold: int = Field(default=0, ge=0, le=99, description="fold that is the test split, from 0")

    @property
    def groups(self) -> str | None:
        """Column whose groups stay whole."""
        return self.column if self.by == "group" or (self.by == "image" and "column" in self.model_fields_set) else None

    @model_validator(mode="after")
    def _agrees(self) -> Splits:
        parts = [part for part in (self.validation, self.test) if part is not None]
        if self.by in ("image", "group") and any(isinstance(part, tuple) for part in parts):
            raise ValueError(f"by: {self.by} takes fractions; class names need by: <column>")
        if self.by not in ("group", "image") and "column" in self.model_fields_set:
            raise ValueError("column needs by: group or by: image")
        if sum(part for part in parts if isinstance(part, float)) >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self

    @model_validator(mode="after")
    def _folds_agree(self) -> Splits:
        if self.folds is None:
            if self.fold:
                raise ValueError("fold needs folds")
            return self
        if self.test is not None:
            raise ValueError("folds makes the test split; leave test out")
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} is not allowed: the folds are 0 to {self.folds - 1}")
        if isinstance(self.validation, float) and self.validation >= 1 - 1 / self.folds:
            raise ValueError("validation and a fold together leave nothing to train on")
        return self


class BoxSettings(Strict):
    """Limits for boxes after cropping: ``min_area`` in pixels, ``min_visibility`` as a share of the original box.

    They are albumentations' settings of these names, and apply to ``fit``, ``augment`` and the centre crop.
    """

    min_area: float = Field(default=1.0, gt=0, description="pixels that a box must keep after cropping")
    min_visibility: float = Field(default=0.0, ge=0, le=1, description="share of its area that a box must keep")


class ViewSettings(Strict):
    """A ``views`` block of params.yaml.

    ``image_size``: a side in pixels, or [height, width]; ``stored_size`` (default: the same): the size on disk, from which
    ``augment`` draws a crop of ``image_size`` (RandomResizedCrop, RandomCrop) and an evaluation takes the centre;
    ``fit``: how a picture is fitted to that size: "crop" takes the largest centred region of the same aspect ratio, "pad" fills
    with ``pad_value`` and writes ``image_mask``, "stretch" ignores the aspect ratio; ``label``: the dataset's column to use as
    ``label`` (also available under its own name); ``domain``: the column to use as ``domain``, for image translation
    (a font, an animal); ``boxes``: limits for a dataset with boxes; ``text``: tokens of a dataset's captions;
    ``strokes``: how the pen strokes of a dataset are drawn;
    ``augment``: albumentations transforms, ``- Affine: {rotate: [-10, 10], p: 0.8}``, drawn anew for every training image;
    ``copies``: write that many augmented copies of each training image instead, and draw nothing at training;
    ``corrupt``: transforms as in ``augment``, applied once, when the view is written, to every image of every split (p defaults
    to 1), and before ``augment``;
    ``background``: colour under transparent pixels; ``levels``: [black, white] of grey pictures with 16 bits a pixel;
    ``max_pixels``: of a picture that must be decoded whole;
    ``unreadable`` files and ``leakage`` (equal images in two splits) are errors, or dropped and counted;
    ``conflicts`` (equal images of two classes) are reported, errors, or dropped; ``near_duplicates: equal`` extends both to
    images that differ by compression, size or brightness alone, ``near_distance`` apart; ``quality``: report on the pictures.
    """

    dataset: Name = Field(description="the block of `datasets` that it is made from")
    image_size: ImageSize
    stored_size: ImageSize | None = None
    channels: Literal[1, 3] = Field(description="1: grey, 3: RGB")
    fit: Literal["crop", "pad", "stretch"] = "crop"
    pad_value: int = Field(default=0, ge=0, le=255, description="grey level of the padding of fit: pad")
    background: str = Field(
        default="#ffffff",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="Colour #rrggbb under transparent pixels of RGBA, grey with alpha, palettes and PNG tRNS.",
    )
    levels: tuple[int, int] | None = Field(
        default=None,
        description="[black, white] of grey pictures with 16 bits a pixel, each 0 to 65535: [0, 4095] for 12-bit cameras. "
        "Without it the whole range of 16 bits is scaled to 0..255.",
    )
    max_pixels: int | None = Field(
        default=None,
        ge=10_000,
        le=178_956_970,
        description="Largest number of pixels (width x height) of a picture that is decoded whole, a guard against "
        "decompression bombs; by default 89,478,485. A larger baseline JPEG, up to 268,435,456, is decoded at reduced scale.",
    )
    label: str = "label"
    domain: str = "domain"
    split: Splits = Splits()
    boxes: BoxSettings | None = None
    text: TextSettings | None = None
    strokes: StrokeSettings | None = Field(default=None, description="how pen strokes of a dataset are drawn")
    augment: Transforms = ()
    copies: int = Field(default=0, ge=0, le=100)
    corrupt: Transforms = ()
    unreadable: Literal["error", "skip"] = Field(default="error", description="files that cannot be decoded")
    leakage: Literal["error", "drop"] = Field(default="error", description="equal images in two splits")
    near_duplicates: Literal["report", "equal"] = Field(
        default="report",
        description="report: near-duplicates are listed; equal: they count as equal images, so that a new split has them on "
        "one side, and leakage and conflicts cover them.",
    )
    near_distance: int = Field(
        default=4,
        ge=0,
        le=8,
        description="Bits of 63 in which the perceptual hashes of near-duplicates may differ; their pixels are compared then. "
        "0: equal hashes.",
    )
    conflicts: Literal["report", "error", "drop"] = Field(
        default="report", description="equal images of two classes: listed, an error, or all of them left out and counted"
    )
    quality: bool = Field(default=True, description="report near-duplicates, suspected label errors and odd pictures")

    @model_validator(mode="after")
    def _agrees(self) -> ViewSettings:
        if self.copies and not self.augment:
            raise ValueError("copies needs a policy: augment is empty")
        if self.levels is not None and not 0 <= self.levels[0] < self.levels[1] <= 65535:
            raise ValueError(f"levels {list(self.levels)}: two ascending numbers from 0 to 65535 are expected")
        if min(stored - shown for stored, shown in zip(self.stored, self.shown, strict=True)) < 0:
            raise ValueError(f"stored_size {self.stored_size} is smaller than image_size {self.image_size}")
        if self.stored != self.shown and (self.copies or not self.augment):
            need = "cannot be used with copies" if self.copies else "needs a policy in augment"
            raise ValueError(f"a stored_size other than image_size {need} that draws the crop at training")
        return self

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) of an image in a batch."""
        return pair(self.image_size)

    @property
    def stored(self) -> tuple[int, int]:
        """(height, width) of an image on disk."""
        return pair(self.image_size if self.stored_size is None else self.stored_size)

    @property
    def preparation(self) -> Preparation:
        """How a single picture is prepared: shipped with every export."""
        return Preparation(
            image_size=self.shown,
            stored_size=self.stored,
            channels=self.channels,
            fit=self.fit,
            pad_value=self.pad_value,
            background=self.background,
            levels=self.levels,
            max_pixels=self.max_pixels,
        )


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Convert a side or [height, width] to (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
