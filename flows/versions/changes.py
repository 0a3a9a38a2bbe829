"""Compare the pictures of two versions of a view: added, removed, renamed, relabelled, changed, moved.

Pictures are the same if the bytes of their files are. What is left is matched by name: a file whose content changed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

KINDS = ("added", "removed", "changed", "relabelled", "annotated", "renamed", "moved")
WORDS = {
    "added": "new pictures",
    "removed": "pictures that are gone",
    "changed": "other contents under the same name",
    "relabelled": "another class",
    "annotated": "other captions, classes or boxes",
    "renamed": "another file name",
    "moved": "another split",
}
PLACE = re.compile(r"\[\d+\]$")  # a place in an array, which is no name


@dataclass(frozen=True)
class Picture:
    """A line of rows.csv. ``classes``: column -> class."""

    split: str
    row: int
    name: str
    content: str
    annotations: str
    classes: dict[str, str]


Key = Callable[[Picture], object]


@dataclass(frozen=True)
class Change:
    """One picture in the old and the new version; None where it does not exist. ``detail``: from what to what."""

    kind: str
    old: Picture | None
    new: Picture | None
    detail: str = ""

    @property
    def name(self) -> str:
        """Name in the new version, or else in the old one."""
        picture = self.new or self.old
        assert picture is not None
        return picture.name


@dataclass(frozen=True)
class Comparison:
    """``renamed_classes``: (column, old, new) of classes that have the same pictures under another name."""

    changes: list[Change]
    renamed_classes: list[tuple[str, str, str]]

    def of(self, kind: str) -> list[Change]:
        """Return the changes of a kind, by name."""
        return sorted((change for change in self.changes if change.kind == kind), key=lambda change: change.name)


def compare(old: Sequence[Picture], new: Sequence[Picture]) -> Comparison:
    """Compare two versions; a picture may have several changes."""
    preferred: tuple[Key, ...] = (lambda picture: (picture.name, picture.split), lambda picture: picture.name)
    same, gone, come = _matched(old, new, lambda picture: picture.content, preferred)
    replaced, gone, come = _matched(gone, come, lambda picture: picture.name)
    classes = _renamed_classes([*same, *replaced])
    changes = [Change("removed", picture, None) for picture in gone] + [Change("added", None, picture) for picture in come]
    changes += [Change("changed", before, after) for before, after in replaced]
    for before, after in [*same, *replaced]:
        changes += _differences(before, after, classes)
    return Comparison(changes, sorted(classes))


def _matched(
    old: Sequence[Picture], new: Sequence[Picture], group: Key, preferred: Sequence[Key] = ()
) -> tuple[list[tuple[Picture, Picture]], list[Picture], list[Picture]]:
    """Match pictures of equal ``group``, first those of equal ``preferred`` keys: (pairs, left of the old, left of the new)."""
    before: dict[object, list[Picture]] = defaultdict(list)
    for picture in old:
        before[group(picture)].append(picture)
    pairs, left = [], list(new)
    for key in (*preferred, lambda picture: None):
        unmatched = []
        for picture in left:
            twin = next((other for other in before[group(picture)] if key(other) == key(picture)), None)
            if twin is None:
                unmatched.append(picture)
            else:
                before[group(picture)].remove(twin)
                pairs.append((twin, picture))
        left = unmatched
    return pairs, [picture for pictures in before.values() for picture in pictures], left


def _renamed_classes(pairs: Sequence[tuple[Picture, Picture]]) -> set[tuple[str, str, str]]:
    """Return (column, old, new) if all pictures of a class that is gone have one new class now."""
    renamed: set[tuple[str, str, str]] = set()
    for column in sorted({column for before, after in pairs for column in before.classes.keys() & after.classes.keys()}):
        both = Counter((before.classes[column], after.classes[column]) for before, after in pairs if column in after.classes)
        old, new = ({pair[side] for pair in both} for side in (0, 1))
        for gone in old - new:
            targets = {after for before, after in both if before == gone}
            if len(targets) == 1 and targets.isdisjoint(old):
                renamed.add((column, gone, targets.pop()))
    return renamed


def _differences(before: Picture, after: Picture, renamed: set[tuple[str, str, str]]) -> Iterator[Change]:
    follows = False
    details = []
    for column in sorted(before.classes.keys() & after.classes.keys()):
        was, now = before.classes[column], after.classes[column]
        if was != now and (column, was, now) in renamed:
            follows = True  # its folder has another name, too
        elif was != now:
            details.append(f"{column}: {was} -> {now}")
    if details:
        yield Change("relabelled", before, after, ", ".join(details))
    if before.annotations != after.annotations:
        yield Change("annotated", before, after)
    moved_folder = follows and before.name.rpartition("/")[2] == after.name.rpartition("/")[2]
    if before.name != after.name and not moved_folder and not PLACE.search(after.name):
        yield Change("renamed", before, after, f"{before.name} -> {after.name}")
    if before.split != after.split:
        yield Change("moved", before, after, f"{before.split} -> {after.split}")
