"""Scenes: characters on a page that differ by colour, size, place and relation, with true captions and boxes (no download)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from components.core.config.params import DatasetSettings
from components.core.config.strict import Strict
from components.core.runtime import mix
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.glyphs.fonts import require_characters
from components.stages.fetch.scenes.captions import captions_of
from components.stages.fetch.scenes.columns import classes_of, described, facts_of
from components.stages.fetch.scenes.painting import COLOURS, paint
from components.stages.fetch.scenes.scene import RELATIONS, SIZES, HeldOut, World, draw_scene

Share = Annotated[float, Field(ge=0, le=0.5)]


class Counts(Strict):
    """Number of scenes per split; 0 leaves the split out."""

    train: int = Field(default=0, ge=0, le=1_000_000, description="scenes without a held-out combination")
    validation: int = Field(default=0, ge=0, le=1_000_000, description="the same")
    test: int = Field(default=0, ge=0, le=1_000_000, description="of which a share has held-out combinations, if there are any")

    @model_validator(mode="after")
    def _draws_something(self) -> Counts:
        if not self.train + self.validation + self.test:
            raise ValueError("no scenes: train, validation or test says how many")
        return self


class HeldOutSettings(Strict):
    """Combinations that training and validation never have. Every colour, character and relation alone is seen."""

    objects: Share = Field(default=0.0, description="share of the pairs of colour and character")
    relations: Share = Field(
        default=0.0, description="share of the arrangements of two characters, such as A left of B (and so B right of A)"
    )
    test: float = Field(default=0.5, ge=0, le=1, description="share of the test scenes that have a held-out combination")


class Scenes:
    """Scenes: RGB [N, side, side, 3], dark or coloured characters on light paper; captions; boxes; columns of the subject.

    Columns: ``character``, ``colour``, ``extent`` (its size in words), ``object`` ("red A") of the subject, the object that the
    first caption names first; ``position`` of a scene's only object; ``relation`` of the subject to its neighbour, and
    ``arrangement``, the same with both characters; ``objects``, their number; ``combination``: whether training had such
    objects and relations.
    A scene depends on (seed, split, index) and the settings of a scene only: more scenes change no other.
    """

    class Settings(DatasetSettings):
        """``jitter`` 0 (exact) to 1: of place, angle, size, ink and paper."""

        image_size: int = Field(ge=24, le=512, description="side in pixels")
        font: str = Field(default="DejaVuSans-Bold", min_length=1, description="font that matplotlib ships")
        characters: str = Field(min_length=2, description="each is a class; told apart without case, as captions are")
        colours: tuple[str, ...] = Field(min_length=1, description=f"names of colours: {', '.join(COLOURS)}")
        extents: tuple[str, ...] = Field(
            default=tuple(SIZES), min_length=1, description=f"sizes of characters: {', '.join(SIZES)}"
        )
        objects: tuple[int, int] = Field(default=(1, 2), description="[fewest, most] characters of a scene, 1 to 4")
        relations: tuple[str, ...] = Field(
            default=RELATIONS, min_length=1, description=f"of neighbours: {', '.join(RELATIONS)}; captions also say the inverse"
        )
        captions: int = Field(default=5, ge=1, le=20, description="most captions of a scene, all true and different")
        images: Counts = Field(description="number of scenes per split")
        held_out: HeldOutSettings = HeldOutSettings()
        box_label: Literal["character", "colour", "object"] = Field(default="character", description="classes of the boxes")
        jitter: float = Field(default=0.5, ge=0, le=1, description="of place, angle, size, ink and paper; 0: exact")

        @field_validator("characters", "colours", "extents", "relations")
        @classmethod
        def _nothing_twice(cls, items: Sequence[str]) -> Sequence[str]:
            folded = [item.lower() for item in items]
            if twice := sorted({item for item in items if folded.count(item.lower()) > 1}):
                raise ValueError(f"named twice (captions are read without case): {' '.join(twice)}")
            return items

        @field_validator("colours", "extents", "relations")
        @classmethod
        def _known(cls, items: tuple[str, ...], info: Any) -> tuple[str, ...]:
            allowed = {"colours": tuple(COLOURS), "extents": tuple(SIZES), "relations": RELATIONS}[info.field_name]
            if unknown := [item for item in items if item not in allowed]:
                raise ValueError(f"{unknown[0]!r} is not allowed: {', '.join(allowed)}")
            return items

        @field_validator("characters")
        @classmethod
        def _no_spaces(cls, characters: str) -> str:
            if any(character.isspace() or not character.isprintable() for character in characters):
                raise ValueError(f"{characters!r}: spaces and control characters draw nothing")
            return characters

        @model_validator(mode="after")
        def _agrees(self) -> Scenes.Settings:
            fewest, most = self.objects
            if not 1 <= fewest <= most <= 4:
                raise ValueError(f"objects {list(self.objects)}: [fewest, most] from 1 to 4 are expected")
            if self.held_out.relations and most < 2:
                raise ValueError("held_out.relations needs scenes of two objects: objects [1, 2] or more")
            if self.held_out.objects and min(len(self.colours), len(self.characters)) < 2:
                raise ValueError("held_out.objects needs at least 2 colours and 2 characters")
            return self

    @staticmethod
    def fetch(settings: Scenes.Settings, out: Path, seed: int, workspace: Path) -> None:
        require_characters(settings.font, settings.characters)
        world = world_of(settings, seed)
        splits = {}
        for split, count in settings.images.model_dump().items():
            if count:
                splits[split] = _write_split(settings, world, out, seed=seed, split=split, count=count)
        write_index(out, "arrays", splits, classes_of(settings))


def world_of(settings: Scenes.Settings, seed: int) -> World:
    """Return what scenes are drawn from, and which combinations are held out."""
    held_out = HeldOut.draw(settings.characters, settings.colours, settings.relations, settings.held_out.model_dump(), seed)
    return World(tuple(settings.characters), settings.colours, settings.extents, settings.relations, settings.objects, held_out)


def _write_split(settings: Scenes.Settings, world: World, out: Path, *, seed: int, split: str, count: int) -> dict[str, str]:
    """Draw a split and write it; only test scenes may have a held-out combination."""
    image = np.zeros((count, settings.image_size, settings.image_size, 3), dtype=np.uint8)
    facts, boxes, texts = [], [], []
    for index in range(count):
        generator = np.random.default_rng(mix(seed, "scenes", split, index))
        unseen = split == "test" and bool(world.held_out) and _is_due(index, settings.held_out.test)
        scene = draw_scene(world, generator, unseen=unseen)
        texts.append(captions_of(scene, settings.captions, generator))
        image[index], placed = paint(scene, settings.font, settings.image_size, settings.jitter, generator)
        boxes.append((placed, [described(thing)[settings.box_label] for thing in scene.objects]))
        facts.append(facts_of(scene, world))
    rows = {column: {name: row for row, name in enumerate(names)} for column, names in classes_of(settings).items()}
    columns: dict[str, np.ndarray] = {"image": image}
    for column in (name for name in rows if name != "box_label"):
        columns[column] = np.array([rows[column][fact[column]] for fact in facts], dtype=np.int64)
    labelled = [(placed, [rows["box_label"][name] for name in names]) for placed, names in boxes]
    return write_arrays(out, split, columns, texts, boxes=labelled)


def _is_due(index: int, share: float) -> bool:
    """Spread a share evenly: with 0.5 every other index, from the second on."""
    return int((index + 1) * share) > int(index * share)
