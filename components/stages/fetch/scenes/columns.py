"""Columns of scenes: the classes, and which of them a scene has."""

from __future__ import annotations

from typing import Literal, Protocol

from components.stages.fetch.scenes.captions import arranged
from components.stages.fetch.scenes.scene import POSITIONS, Scene, Thing, World, arrangements

COMBINATIONS = ("seen", "unseen object", "unseen relation")
NONE = "none"  # class of a column that says nothing about a scene


class SceneSettings(Protocol):
    """What the source's settings say of classes."""

    characters: str
    colours: tuple[str, ...]
    extents: tuple[str, ...]
    relations: tuple[str, ...]
    objects: tuple[int, int]
    box_label: Literal["character", "colour", "object"]


def classes_of(settings: SceneSettings) -> dict[str, list[str]]:
    """Return column -> class names in index order."""
    pairs = [f"{colour} {character}" for colour in settings.colours for character in settings.characters]
    classes = {
        "character": list(settings.characters),
        "colour": list(settings.colours),
        "extent": list(settings.extents),
        "object": pairs,
        "position": [*POSITIONS, NONE],
        "relation": [*settings.relations, NONE],
        "arrangement": [*(arranged(*triple) for triple in arrangements(settings.characters, settings.relations)), NONE],
        "objects": [str(number) for number in range(settings.objects[0], settings.objects[1] + 1)],
        "combination": list(COMBINATIONS),
    }
    return classes | {"box_label": classes[settings.box_label]}


def facts_of(scene: Scene, world: World) -> dict[str, str]:
    """Return column -> class of the scene."""
    unseen = "unseen object" if world.held_out.has_object(scene) else "unseen relation"
    own = [triple for triple, (first, _, _) in zip(scene.arrangements(), scene.relations, strict=True) if first == 0]
    return {
        **described(scene.objects[0]),
        "position": scene.position or NONE,
        "relation": own[0][1] if own else NONE,
        "arrangement": arranged(*own[0]) if own else NONE,
        "objects": str(len(scene.objects)),
        "combination": unseen if world.held_out.touches(scene) else "seen",
    }


def described(thing: Thing) -> dict[str, str]:
    """Return the classes of one object."""
    pair = f"{thing.colour} {thing.character}"
    return {"character": thing.character, "colour": thing.colour, "extent": thing.extent, "object": pair}
