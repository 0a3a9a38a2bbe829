"""Strict parsing of YAML mappings to frozen settings objects; errors name the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

NAME = r"^[a-z][a-z0-9_]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]  # stage names, file names, registered names


class SettingsError(ValueError):
    """An invalid value in params.yaml; the message names the key, the value and what is allowed."""


def check_name(name: str) -> str:
    """Return ``name`` if it is valid as the name of a block, else raise SettingsError."""
    if not re.fullmatch(NAME, name):
        raise SettingsError(f"{name!r} is no name: it starts with a letter a-z and goes on with at most 62 of a-z, 0-9 and _")
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
        raise SettingsError("\n".join(_explain(cls, fault, key) for fault in error.errors())) from None


def _explain(cls: type[BaseModel], fault: Any, key: str) -> str:
    location = [str(part) for part in fault["loc"] if part != "[key]"]
    path = ".".join([key, *location] if key else location)
    if fault["type"] == "extra_forbidden":
        owner = _class_at(cls, location[:-1])
        renamed = {old: new for base in owner.__mro__ for old, new in vars(base).get("renamed", {}).items()}
        if location[-1] in renamed:
            return f"{path}: renamed; it is called {renamed[location[-1]]!r} now"
        moved = getattr(owner, "moved", {})
        if location[-1] in moved:
            return f"{path}: moved; {moved[location[-1]]}"
        allowed = sorted(field.alias or name for name, field in owner.model_fields.items())
        return f"{path}: unknown key (value {fault['input']!r}); {_choices(location[-1], allowed)}"
    if fault["type"] == "missing":
        return f"{path}: missing; {_field_hint(cls, location)}"
    return f"{path}: {fault['input']!r} is not allowed: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _class_at(cls: Any, location: list[str]) -> Any:
    """Return the settings class at ``location`` below ``cls``, or the last class on the path."""
    for part in location:
        field = getattr(cls, "model_fields", {}).get(part)
        for candidate in _classes(field.annotation) if field else []:
            cls = candidate
    return cls


def _classes(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [cls for part in getattr(annotation, "__args__", ()) for cls in _classes(part)]


def _field_hint(cls: type[BaseModel], location: list[str]) -> str:
    field = cls.model_fields.get(location[-1]) if len(location) == 1 else None
    if field is None or field.description is not None:
        return "it is required"
    blocks = getattr(field.annotation, "__origin__", field.annotation) is dict
    return "it is required, {} where there is nothing to say" if blocks else f"it takes {field.annotation}"


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
