"""Names of files, classes and splits: which are plain text, which look alike, which mean a split."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

JOINERS = "\u200c\u200d"  # invisible, but spelling in some scripts
SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
JUNK = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir")  # left by operating systems and network drives


def split_of(name: str) -> str | None:
    """Return train, validation or test for a usual name of a split (``val``, ``Valid``, ``testing``); None for another name."""
    return SPLIT_NAMES.get(name.casefold())


def is_junk(name: str) -> bool:
    """Return whether a file or folder is hidden, or left by an operating system."""
    return name.startswith(".") or name.casefold() in JUNK


def plain_name(name: str, parent: Path | str) -> str:
    """Return ``name`` if it is UTF-8 without control characters, else raise ValueError."""
    # Cs: surrogates, for bytes that are not UTF-8; Cf: invisible, such as marks of the writing direction
    kinds = {unicodedata.category(letter) for letter in name if letter not in JOINERS}
    if kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        raise ValueError(f"{parent}: the name {name!a} is not UTF-8, or holds a line break or another control character")
    return name


def relative_name(name: str, where: str) -> str:
    """Return ``name`` if it is a path below a folder, with / between its parts; else raise ValueError."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{where}: {name!r} is no path inside the folder, with / between folders")
    for part in parts:
        plain_name(part, where)
    return name


def same_looking(names: Iterable[str]) -> list[str]:
    """Describe names that look the same and are spelt with other code points."""
    return [
        f"{twins[0]!r} and {twins[1]!r} look the same, spelt with other code points; rename one"
        for twins in _twins(names, lambda name: unicodedata.normalize("NFC", name))
    ]


def nearly_equal(names: Iterable[str]) -> list[str]:
    """Describe names that differ only by upper and lower case or by spaces."""
    return [
        f"the classes {', '.join(map(repr, twins))} differ only by case or spaces; "
        "give them one name, or set similar_names: accept"
        for twins in _twins(names, lambda name: "".join(unicodedata.normalize("NFC", name).casefold().split()))
    ]


def _twins(names: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    """Return the groups of two or more names with the same ``key``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
