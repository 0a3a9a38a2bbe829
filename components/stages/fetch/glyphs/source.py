"""Glyphs: characters drawn from the fonts that matplotlib ships, with character, font and a caption as labels (no download).

All characters of a font share a baseline and a scale, so that c and C, o and O, p and P differ as they do in print.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from components.core.config.params import DatasetSettings
from components.core.runtime import mix
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.glyphs.drawing import draw, draw_pose
from components.stages.fetch.glyphs.fonts import caption, require_characters

NO_CHARACTER = (
    "Cc",
    "Cf",
    "Cn",
    "Co",
    "Cs",
    "Mn",
    "Me",
    "Zl",
    "Zp",
    "Zs",
)  # Unicode categories that draw nothing by themselves


class Glyphs:
    """Glyphs: grey [N, size, size], ink bright on 0; label = character, font; text; one split, "all".

    Order: by font, character, sample. A sample depends on (seed, font, character, index) only, so that adding a font or a
    character does not change other images.
    """

    class Settings(DatasetSettings):
        """``image_size`` in pixels; ``samples`` per character and font; ``jitter`` 0 (exact) to 1, see drawing.py."""

        image_size: int = Field(ge=8, le=512, description="side in pixels")
        fonts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, description="fonts that matplotlib ships")
        characters: str = Field(min_length=1, description="each is a class")
        samples: int = Field(ge=1, le=10_000, description="images per character and font")
        jitter: float = Field(ge=0, le=1, description="of place, size and angle; 0: exact")

        @field_validator("fonts", "characters")
        @classmethod
        def _nothing_twice(cls, items: tuple[str, ...] | str) -> tuple[str, ...] | str:
            twice = sorted({item for item in items if items.count(item) > 1})
            if twice:
                raise ValueError(f"named twice: {' '.join(twice)}")
            return items

        @field_validator("characters")
        @classmethod
        def _characters_with_ink(cls, characters: str) -> str:
            empty = [f"U+{ord(c):04X}" for c in characters if unicodedata.category(c) in NO_CHARACTER]
            if empty:
                raise ValueError(f"spaces, control and combining characters draw nothing: {' '.join(empty)}")
            return characters

        @model_validator(mode="after")
        def _samples_differ(self) -> Glyphs.Settings:
            if self.samples > 1 and self.jitter == 0:
                raise ValueError(f"samples {self.samples} with jitter 0 would draw the same image again; allowed: samples 1")
            return self

    @staticmethod
    def fetch(settings: Glyphs.Settings, out: Path, seed: int, workspace: Path) -> None:
        for font in settings.fonts:
            require_characters(font, settings.characters)
        pairs = [(font, character) for font in settings.fonts for character in settings.characters]
        image = np.concatenate([draw_samples(settings, font, character, seed) for font, character in pairs])
        columns = {
            "image": image,
            "label": _indices([settings.characters.index(character) for _, character in pairs], settings.samples),
            "font": _indices([settings.fonts.index(font) for font, _ in pairs], settings.samples),
        }
        text = [caption(character, font) for font, character in pairs for _ in range(settings.samples)]
        split = write_arrays(out, "all", columns, text)
        write_index(out, "arrays", {"all": split}, {"label": tuple(settings.characters), "font": settings.fonts})


def draw_samples(settings: Glyphs.Settings, font: str, character: str, seed: int) -> np.ndarray:
    """Draw the character's images in the font, uint8 [samples, size, size]."""
    generator = np.random.default_rng(mix(seed, "glyphs", font, character))
    poses = [draw_pose(generator, settings.jitter) for _ in range(settings.samples)]
    return np.stack([draw(font, character, settings.image_size, pose) for pose in poses])


def _indices(indices: list[int], samples: int) -> np.ndarray:
    return np.repeat(np.array(indices, dtype=np.int64), samples)
