"""A scene: which characters, of which colour and size, where; and combinations that training never has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

SIZES = {"small": 0.22, "medium": 0.32, "large": 0.46}  # of the page's side
RELATIONS = ("left of", "above")
INVERSE = {"left of": "right of", "above": "below"}
POSITIONS = (
    *("top left", "top", "top right"),
    *("left", "centre", "right"),
    *("bottom left", "bottom", "bottom right"),
)
Parts = TypeVar("Parts", tuple[str, str], tuple[str, str, str])
CELL = 0.5  # side of an object's cell, of the page's: two fit beside each other


@dataclass(frozen=True)
class Thing:
    """One character. ``centre``: (x, y) of its cell, of the page's side."""

    character: str
    colour: str
    extent: str
    centre: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """Objects in the order in which the first caption names them.

    ``relations``: (index, "left of" or "above", index) of all neighbours in a row or column; ``position``: of a single object.
    """

    objects: tuple[Thing, ...]
    relations: tuple[tuple[int, str, int], ...]
    position: str | None = None

    def arrangements(self) -> list[tuple[str, str, str]]:
        """Return the relations by characters: ("A", "left of", "B")."""
        return [(self.objects[a].character, relation, self.objects[b].character) for a, relation, b in self.relations]


@dataclass(frozen=True)
class HeldOut:
    """Combinations that only test scenes have: (colour, character) and (character, relation, character)."""

    objects: frozenset[tuple[str, str]]
    arrangements: frozenset[tuple[str, str, str]]

    @classmethod
    def draw(
        cls, characters: Sequence[str], colours: Sequence[str], relations: Sequence[str], shares: dict[str, float], seed: int
    ) -> HeldOut:
        """Choose the given shares of all combinations, so that at least half of those with each part stay in training."""
        pairs = _chosen(list(product(colours, characters)), shares["objects"], seed)
        chosen = _chosen(arrangements(characters, relations), shares["relations"], seed)
        return cls(frozenset(pairs), frozenset(chosen))

    def __bool__(self) -> bool:
        return bool(self.objects or self.arrangements)

    def has_object(self, scene: Scene) -> bool:
        """Return whether an object of the scene is held out."""
        return any((thing.colour, thing.character) in self.objects for thing in scene.objects)

    def touches(self, scene: Scene) -> bool:
        """Return whether anything of the scene is held out."""
        return self.has_object(scene) or not self.arrangements.isdisjoint(scene.arrangements())


@dataclass(frozen=True)
class World:
    """What scenes are drawn from."""

    characters: tuple[str, ...]
    colours: tuple[str, ...]
    extents: tuple[str, ...]
    relations: tuple[str, ...]
    objects: tuple[int, int]
    held_out: HeldOut


def arrangements(characters: Sequence[str], relations: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return every (character, relation, other character)."""
    return [(one, relation, other) for one, relation, other in product(characters, relations, characters) if one != other]


def _chosen(combinations: Sequence[Parts], share: float, seed: int) -> list[Parts]:
    """Choose the share in an order by hash; a part (a colour at its place) keeps at least half of its combinations."""
    total: dict[tuple[int, str], int] = {}
    for combination in combinations:
        for part in enumerate(combination):
            total[part] = total.get(part, 0) + 1
    left, chosen = dict(total), list[Parts]()
    for combination in sorted(combinations, key=lambda parts: hashlib.sha256(f"{seed}:{parts}".encode()).digest()):
        parts = list(enumerate(combination))
        if len(chosen) < round(share * len(combinations)) and all(2 * (left[part] - 1) >= total[part] for part in parts):
            chosen.append(combination)
            left |= {part: left[part] - 1 for part in parts}
    return chosen


def draw_scene(world: World, generator: np.random.Generator, *, unseen: bool) -> Scene:
    """Draw a scene that has a held-out combination (``unseen``), or none."""
    while True:
        scene = _any_scene(world, generator)
        if world.held_out.touches(scene) == unseen:
            return scene


def _any_scene(world: World, generator: np.random.Generator) -> Scene:
    """Draw number, places and objects independently; no two objects of a scene are the same character."""
    most = min(world.objects[1], len(world.characters))
    number = int(generator.integers(min(world.objects[0], most), most + 1))
    centres, relations = _places(world.relations, number, generator)
    characters = generator.choice(len(world.characters), number, replace=False)
    things = tuple(
        Thing(
            world.characters[character],
            world.colours[generator.integers(len(world.colours))],
            world.extents[generator.integers(len(world.extents))],
            centre,
        )
        for character, centre in zip(characters, centres, strict=True)
    )
    return Scene(things, relations, position_of(centres[0]) if number == 1 else None)


Places = tuple[list[tuple[float, float]], tuple[tuple[int, str, int], ...]]


def _places(relations: Sequence[str], number: int, generator: np.random.Generator) -> Places:
    """Draw the centres of cells, and the relations of neighbours: one anywhere, two in a row or column, more in a square."""
    if number == 1:
        x, y = generator.uniform(CELL / 2, 1 - CELL / 2, size=2)
        return [(float(x), float(y))], ()
    if number == 2:
        relation = relations[int(generator.integers(len(relations)))]
        across = float(generator.uniform(CELL / 2, 1 - CELL / 2))
        row = [(CELL / 2, across), (1 - CELL / 2, across)]
        return row if relation == "left of" else [(x, y) for y, x in row], ((0, relation, 1),)
    square = [(CELL / 2, CELL / 2), (1 - CELL / 2, CELL / 2), (CELL / 2, 1 - CELL / 2), (1 - CELL / 2, 1 - CELL / 2)]
    cells = sorted(generator.choice(4, number, replace=False).tolist())
    neighbours = [(0, "left of", 1), (2, "left of", 3), (0, "above", 2), (1, "above", 3)]
    present = [(cells.index(a), relation, cells.index(b)) for a, relation, b in neighbours if {a, b} <= set(cells)]
    return [square[cell] for cell in cells], tuple(one for one in present if one[1] in relations)


def position_of(centre: tuple[float, float]) -> str:
    """Return the place in words, by thirds of the range of centres."""
    column, row = (min(2, int((value - CELL / 2) / (1 - CELL) * 3)) for value in centre)
    return POSITIONS[3 * row + column]
