"""Types, ranges and meanings of settings in words, for error messages and docs/settings.md."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

NAME = r"^[a-z][a-z0-9_]{0,62}$"  # of a block: a part of stage names, file names and registered names
NAME_RULE = "a name starts with a letter a-z and goes on with at most 62 of a-z, 0-9 and _"
PLAIN = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    dict: "a block of keys",
    list: "a list",
    tuple: "a list",
    Any: "any value",
}
PLURALS = {"a whole number": "whole numbers", "a number": "numbers", "text": "texts", "a block of keys": "blocks of keys"}
LISTS = (list, tuple, set, frozenset, typing.get_origin(Sequence[int]))
MAPPINGS = (dict, typing.get_origin(Mapping[str, int]))
# Kind of pydantic's fault -> what is expected; {x} is the fault's own limit.
EXPECTED = {
    "int_type": "a whole number is expected",
    "int_parsing": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_type": "a number is expected",
    "float_parsing": "a number is expected",
    "finite_number": "a finite number is expected",
    "bool_type": "true or false is expected",
    "bool_parsing": "true or false is expected",
    "string_type": "text is expected, in quotes if it looks like a number",
    "list_type": "a list is expected, [a, b]",
    "tuple_type": "a list is expected, [a, b]",
    "dict_type": "a block of keys is expected; {{}} for none",
    "model_type": "a block of keys is expected; {{}} for none",
    "model_attributes_type": "a block of keys is expected; {{}} for none",
    "literal_error": "{expected} is expected",
    "none_required": "null is expected",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "too_short": "at least {min_length} entries are expected",
    "too_long": "at most {max_length} entries are expected",
    "string_too_short": "at least {min_length} letters are expected",
    "string_too_long": "at most {max_length} letters are expected",
}


def expected(fault: Mapping[str, Any]) -> str:
    """Say what one of pydantic's faults asks for, in words: ``it must be greater than 0``."""
    kind, limits = str(fault["type"]), dict(fault.get("ctx", {}))
    if kind == "value_error":  # raised by a check of ours
        return str(limits.get("error", fault["msg"]))
    if kind == "string_pattern_mismatch":
        return NAME_RULE if limits["pattern"] == NAME else f"it must have the form {limits['pattern']}"
    if kind in EXPECTED:
        return EXPECTED[kind].format(**limits)
    message = str(fault["msg"])
    return message[:1].lower() + message[1:]


def in_words(annotation: Any) -> str:
    """Say what values a type has: ``1 or 3``, ``a list of text, or null``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        said = limits(entry for data in inner[1:] for entry in getattr(data, "metadata", [data]))
        return f"{in_words(inner[0])} ({said})" if said else in_words(inner[0])
    if origin is Literal:
        return joined([_literal(value) for value in inner])
    if origin in (Union, types.UnionType):
        return joined(list(dict.fromkeys(in_words(part) for part in inner)))
    if origin in MAPPINGS and inner[1] is not Any:
        return f"a block of names, each with {in_words(inner[1])}"
    if origin in MAPPINGS or (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
        return "a block of keys"
    return _list_in_words(inner) if origin in LISTS else PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _list_in_words(inner: tuple[Any, ...]) -> str:
    entries = [part for part in inner if part is not Ellipsis]
    if not entries:
        return "a list"
    if Ellipsis in inner or len(entries) == 1:
        words = in_words(entries[0])
        return f"a list of {PLURALS[words]}" if words in PLURALS else f"a list, each entry {words}"
    kinds = [in_words(part) for part in entries]
    same = PLURALS.get(kinds[0]) if len(set(kinds)) == 1 else None
    return f"a list of {len(kinds)} {same}" if same else f"a list of {len(kinds)}: {', '.join(kinds)}"


def _literal(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def joined(words: list[str], last: str = "or") -> str:
    """Join words to ``a, b or c``."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def limits(metadata: Iterable[Any]) -> str:
    """Say the range in a field's metadata: ``at least 0, less than 1``; "" for none."""
    words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
    said = []
    for entry in metadata:
        bounds = {name: getattr(entry, name, None) for name in words}
        said += [f"{words[name]} {_bound(bound)}" for name, bound in bounds.items() if bound is not None]
        if getattr(entry, "pattern", None) is not None:
            said.append("of a-z, 0-9 and _" if entry.pattern == NAME else f"of the form `{entry.pattern}`")
        if getattr(entry, "min_length", None):
            said.append("not empty" if entry.min_length == 1 else f"at least {entry.min_length} entries")
    return ", ".join(said)


def _bound(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def meanings(docstring: str | None) -> dict[str, str]:
    """Return name -> meaning of the settings that a docstring explains as ``name``: meaning; ``other`` (range): meaning."""
    text = " ".join(inspect.cleandoc(docstring or "").split())
    marks = list(re.finditer(r"((?:``\w+``(?:, | and )?)+)(?: \(([^)]*)\))?: ", text))
    found = {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=False):  # without marks there is one end
        meaning = text[mark.end() : end].strip(" ;.,")
        for name in re.findall(r"``(\w+)``", mark[1]):
            found[name] = f"{meaning} ({mark[2]})" if mark[2] else meaning
    return found
