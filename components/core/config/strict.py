"""Strict parsing of YAML mappings to frozen settings objects; errors name the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.core.config.wording import NAME as NAME  # noqa: PLC0414
from components.core.config.wording import NAME_RULE, expected, in_words, limits, meanings

Name = Annotated[str, Field(pattern=NAME)]  # stage names, file names, registered names


class SettingsError(ValueError):
    """An invalid value in params.yaml; the message names the key, the value and what is allowed."""


def check_name(name: str) -> str:
    """Return ``name`` if it is valid as the name of a block, else raise SettingsError."""
    if not re.fullmatch(NAME, name):
        raise SettingsError(f"{name!r} is no name: {NAME_RULE}")
    return name


class Strict(BaseModel):
    """Base of every settings class: unknown keys, wrong types and later changes are errors.

    ``renamed``: old name of a setting -> its current name, for the error message; ``moved``: old name -> a hint, for a setting
    that has moved to another block.
    """

    renamed: ClassVar[dict[str, str]] = {}
    moved: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NoSettings(Strict):
    """A block without settings."""


S = TypeVar("S", bound=Strict)
T = TypeVar("T")


def resolve(catalog: dict[str, str], name: str, key: str) -> Any:
    """Import and return the object at ``catalog[name]`` ("module:Class"). ``key`` names the setting in the error."""
    if name not in catalog:
        raise SettingsError(f"{key}: unknown name {name!r}; {_choices(name, catalog)}")
    module, _, attribute = catalog[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def parse(cls: type[S], block: Any, key: str) -> S:
    """Parse ``block`` as ``cls``; SettingsError lists every fault with its full path below ``key``."""
    try:
        # Through JSON: strict mode then accepts a YAML list for a tuple, and still rejects "3" for 3.
        return cls.model_validate_json(json.dumps(block))
    except TypeError as error:
        raise SettingsError(f"{key}: {error}") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_explain_all(cls, error.errors(), block, key))) from None


def _explain_all(cls: type[BaseModel], faults: Sequence[Any], block: Any, key: str) -> list[str]:
    """Return one line per key with a fault. A type with alternatives has a fault for each of them."""
    by_place: dict[tuple[str, ...], list[Any]] = {}
    for fault in faults:
        by_place.setdefault(_place(fault, block), []).append(fault)
    return [_explain(cls, list(place), same, key) for place, same in by_place.items()]


def _place(fault: Any, block: Any) -> tuple[str, ...]:
    """Return the keys that lead to a fault, without the names of types that pydantic puts between them."""
    parts: list[str] = []
    for part in fault["loc"]:
        inside = part in block if isinstance(block, dict) else isinstance(block, list) and part in range(len(block))
        if inside:
            parts, block = [*parts, str(part)], block[part]
        elif fault["type"] == "missing" and part == fault["loc"][-1]:
            parts.append(str(part))
    return tuple(parts)


def _explain(cls: type[BaseModel], location: list[str], faults: list[Any], key: str) -> str:
    path, fault = ".".join([key, *location] if key else location), faults[0]
    if fault["type"] == "extra_forbidden":
        return f"{path}: {_unknown(_class_at(cls, location[:-1]), location[-1], fault['input'])}"
    if fault["type"] == "missing":
        return f"{path}: missing; {_hint(_class_at(cls, location[:-1]), location[-1])}"
    told = [fault for fault in faults if not fault["type"].endswith("_type")] or faults
    reasons = " or ".join(dict.fromkeys(expected(fault) for fault in told))
    if fault["type"] == "value_error" and isinstance(fault["input"], dict):  # a check of several keys of the block
        names = tuple(f"{name}: " for name in getattr(_class_at(cls, location), "model_fields", {}))
        return f"{path}.{reasons}" if reasons.startswith(names) else f"{path}: {reasons}"
    return f"{path}: {shown(fault['input'])} is not allowed: {reasons}"


def _unknown(owner: Any, name: str, value: Any) -> str:
    """Explain an unknown key: renamed, moved, or the nearest of the allowed ones."""
    renamed = {old: new for base in owner.__mro__ for old, new in vars(base).get("renamed", {}).items()}
    if name in renamed:
        return f"renamed; it is called {renamed[name]!r} now"
    moved = getattr(owner, "moved", {})
    if name in moved:
        return f"moved; {moved[name]}"
    allowed = sorted(field.alias or name for name, field in owner.model_fields.items())
    return f"unknown key (value {shown(value)}); {_choices(name, allowed)}"


def shown(value: Any) -> str:
    """Return the value as YAML would show it: null, true, 'text'."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _class_at(cls: Any, location: list[str]) -> Any:
    """Return the settings class at ``location`` below ``cls``, or the last class on the path."""
    for part in location:
        fields = getattr(cls, "model_fields", {})
        field = next((field for name, field in fields.items() if part in (name, field.alias)), None)
        for candidate in _classes(field.annotation) if field else []:
            cls = candidate
    return cls


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [cls for part in getattr(annotation, "__args__", ()) for cls in _classes(part)]


def _hint(owner: Any, name: str) -> str:
    """Say what a missing key takes."""
    field = next((field for key, field in owner.model_fields.items() if name in (key, field.alias)), None)
    if field is None:
        return "it is required"
    words = in_words(field.annotation)
    meaning = field.description or meanings(owner.__doc__).get(name, "")
    said = ", ".join(filter(None, (words, limits(field.metadata))))
    return f"{said}{f' ({meaning})' if meaning else ''} is expected"


def collected(*checks: Callable[[], object]) -> list[str]:
    """Run every check and return the faults of all, one line each, without repetitions."""
    lines: list[str] = []
    for check in checks:
        try:
            check()
        except SettingsError as error:
            lines += [line for line in str(error).splitlines() if line not in lines]
    return lines


def refuse(lines: Iterable[str]) -> None:
    """Raise one SettingsError with all lines, if there are any."""
    if faults := list(dict.fromkeys(lines)):
        raise SettingsError("\n".join(faults))


def _choices(name: str, allowed: Any) -> str:
    listed = ", ".join(sorted(allowed)) or "none"
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f"allowed: {listed}" + (f" (did you mean {near[0]!r}?)" if near else "")


def read_yaml(path: Path, text: str | None = None) -> Any:
    """Parse the file, or its ``text`` if given, to plain Python values, by YAML 1.2 as in DVC."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8") if text is None else text)
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None


def named(blocks: dict[str, T], name: str, key: str) -> T:
    if name not in blocks:
        raise SettingsError(f"{key}: no block named {name!r}; {_choices(name, blocks)}")
    return blocks[name]


def must_exist(name: str, blocks: Any, key: str) -> None:
    if name not in blocks:
        raise SettingsError(f"{key}: unknown name {name!r}; {_choices(name, blocks)}")
