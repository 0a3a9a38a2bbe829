"""Class names of numbered or named labels, in index order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def class_of(value: object, names: Sequence[str] | None) -> str:
    """Return the class name of a label: a name, or a number, which ``names`` may name. ValueError if it is neither."""
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not text:
        raise ValueError(f"the label {value!r} is neither a name nor a number")
    if names is None or (text in names and not text.isdigit()):
        return text
    if not text.isdigit() or int(text) >= len(names):
        raise ValueError(f"the label {text!r} is none of {len(names)} classes, 0 to {len(names) - 1}")
    return names[int(text)]


def index_order(found: Iterable[str]) -> list[str]:
    """Return the distinct names, numbers in numerical order, others in byte order."""
    names = set(found)
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names, key=str.encode)
