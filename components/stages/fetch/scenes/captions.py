"""True captions of a scene: what is there, of which colour and size, where, and how many."""

from __future__ import annotations

import numpy as np

from components.stages.fetch.scenes.scene import INVERSE, Scene, Thing

NUMBERS = ("no", "one", "two", "three", "four")


def captions_of(scene: Scene, most: int, generator: np.random.Generator) -> list[str]:
    """Return at most ``most`` different captions: first the full one, then some of the others in random order."""
    first, *others = dict.fromkeys(statements(scene))
    chosen = generator.permutation(len(others))[: most - 1]
    return [first, *(others[number] for number in chosen)]


def statements(scene: Scene) -> list[str]:
    """Return everything that is said of the scene, the fullest first."""
    if len(scene.objects) == 1:
        return _of_one(scene.objects[0], str(scene.position))
    said = [f"{full(scene.objects[a])} {relation} {full(scene.objects[b])}" for a, relation, b in scene.relations]
    said = said if len(scene.objects) == 2 and said else [_list([full(thing) for thing in scene.objects]), *said]
    for a, relation, b in scene.relations:
        one, other = scene.objects[a], scene.objects[b]
        said.append(f"{full(other)} {INVERSE[relation]} {full(one)}")
        said += [f"{short(one)} {relation} {short(other)}", f"{short(other)} {INVERSE[relation]} {short(one)}"]
        said.append(arranged(one.character, relation, other.character))
        said.append(arranged(other.character, INVERSE[relation], one.character))
    said += [_list([short(thing) for thing in scene.objects]), _list([short(thing) for thing in reversed(scene.objects)])]
    return [*said, _counted(scene)]


def _of_one(thing: Thing, position: str) -> list[str]:
    place = f"at the {position}"
    return [
        f"{full(thing)} {place}",
        full(thing),
        short(thing),
        f"{short(thing)} {place}",
        f"{bare(thing.character)} {place}",
        f"{bare(thing.character)} in {thing.colour}",
        f"{_article(thing.extent)} {thing.extent} {kind(thing.character)} {thing.character}",
    ]


def full(thing: Thing) -> str:
    """Return "a large red A"."""
    return f"{_article(thing.extent)} {thing.extent} {thing.colour} {thing.character}"


def short(thing: Thing) -> str:
    """Return "a red A"."""
    return f"{_article(thing.colour)} {thing.colour} {thing.character}"


def bare(character: str) -> str:
    """Return "the letter A"."""
    return f"the {kind(character)} {character}"


def arranged(one: str, relation: str, other: str) -> str:
    """Return "the letter A left of the letter B"."""
    return f"{bare(one)} {relation} {bare(other)}"


def kind(character: str) -> str:
    """Return letter, digit or sign."""
    return "letter" if character.isalpha() else "digit" if character.isdigit() else "sign"


def _counted(scene: Scene) -> str:
    """Return "two red letters" if both are red, else "two letters"."""
    colours, kinds = {thing.colour for thing in scene.objects}, {kind(thing.character) for thing in scene.objects}
    colour = f"{colours.pop()} " if len(colours) == 1 else ""
    return f"{NUMBERS[len(scene.objects)]} {colour}{kinds.pop() if len(kinds) == 1 else 'character'}s"


def _list(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
