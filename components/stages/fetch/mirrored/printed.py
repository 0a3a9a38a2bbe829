"""Printed characters of installed fonts, Chinese ones too: each cut to its ink and centred, as scans of handwriting are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from components.core.config.params import DatasetSettings
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.downloads.published import checksum
from components.stages.fetch.mirrored.fonts import Face, find_face, require_glyphs
from components.stages.fetch.mirrored.printing import draw_poses, print_character

log = logging.getLogger(__name__)


class Printed:
    """Prints: grey [N, size, size], ink bright on 0; label = character, font; one split, "all". Order: font, character, sample.

    A sample depends on (seed, character, index) and the font's file.
    """

    class Settings(DatasetSettings):
        fonts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
            min_length=1, description="Installed families, or .ttf, .otf and .ttc files."
        )
        font_sha256: dict[str, str] = Field(
            default_factory=dict, description="Checksum of a font's file, by font; none accepts any edition."
        )
        characters: str = Field(min_length=1, description="each is a class")
        image_size: int = Field(ge=8, le=512, description="side in pixels")
        samples: int = Field(ge=1, le=10_000, description="prints per character and font")
        jitter: float = Field(ge=0, le=1, description="of angle, slant, width and weight; 0: exact")

        @field_validator("fonts", "characters")
        @classmethod
        def _nothing_twice(cls, items: tuple[str, ...] | str) -> tuple[str, ...] | str:
            if twice := sorted({item for item in items if items.count(item) > 1}):
                raise ValueError(f"named twice: {' '.join(twice)}")
            return items

        @model_validator(mode="after")
        def _agrees(self) -> Printed.Settings:
            if self.samples > 1 and self.jitter == 0:
                raise ValueError(f"samples {self.samples} with jitter 0 would draw the same image again; allowed: samples 1")
            if unknown := sorted(set(self.font_sha256) - set(self.fonts)):
                raise ValueError(f"font_sha256: {unknown[0]!r} is not in fonts")
            return self

    @staticmethod
    def fetch(settings: Printed.Settings, out: Path, seed: int, workspace: Path) -> None:
        faces = [find_face(font, workspace, settings.font_sha256.get(font)) for font in settings.fonts]
        for face, font in zip(faces, settings.fonts, strict=True):
            require_glyphs(face, settings.characters, font)
            log.warning("font: %s, SHA-256 %s", face.path.name, checksum(face.path, "0" * 64))
        image = np.stack([picture for face in faces for picture in _prints(settings, face, seed)])
        count = len(settings.characters) * settings.samples
        columns = {
            "image": image,
            "label": np.tile(np.repeat(np.arange(len(settings.characters)), settings.samples), len(faces)).astype(np.int64),
            "font": np.repeat(np.arange(len(faces)), count).astype(np.int64),
        }
        split = write_arrays(out, "all", columns)
        write_index(out, "arrays", {"all": split}, {"label": tuple(settings.characters), "font": settings.fonts})


def _prints(settings: Printed.Settings, face: Face, seed: int) -> list[np.ndarray]:
    """Draw a font's pictures, uint8 [side, side] each, by character and sample."""
    poses = {character: draw_poses(character, settings.samples, seed) * settings.jitter for character in settings.characters}
    side = settings.image_size
    return [print_character(face, character, side, pose) for character in settings.characters for pose in poses[character]]
