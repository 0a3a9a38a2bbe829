"""Build albumentations transforms from YAML strictly: what albumentations only warns about is an error that names the key."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from components.core.config.strict import SettingsError
from components.stages.views.draws import albumentations

COMPOSITIONS = ("OneOf", "SomeOf", "RandomOrder", "Sequential")  # have an argument ``transforms`` of the same form
NOT_USERS = ("strict", "transforms")  # arguments that a user cannot set


def build_transforms(items: Sequence[Any], key: str, size: tuple[int, int]) -> list[Any]:
    """Build the transforms of ``[{Name: {argument: value}}, ...]``; SettingsError names ``<key>.<index>.<Name>``.

    ``size``: (height, width) of the policy's results, passed to transforms with an argument of this name.
    """
    return [_build(item, f"{key}.{index}", size) for index, item in enumerate(items)]


def _build(item: Any, key: str, size: tuple[int, int]) -> Any:
    if not isinstance(item, dict) or len(item) != 1 or not isinstance(next(iter(item.values())), dict | None):
        raise SettingsError(f"{key}: {item!r} is not allowed: write one transform an entry, Name: {{argument: value}}")
    name, block = next(iter(item.items()))
    cls = _transform_class(name, key)
    key, arguments = f"{key}.{name}", dict(block or {})
    children = arguments.pop("transforms", None) if name in COMPOSITIONS else None
    _check_arguments(cls, arguments, key)
    if name in COMPOSITIONS:
        if not isinstance(children, list) or not children:
            raise SettingsError(f"{key}.transforms: {children!r} is not allowed: a list of transforms is expected")
        arguments["transforms"] = build_transforms(children, f"{key}.transforms", size)
    elif "size" in inspect.signature(cls).parameters:
        arguments["size"] = size
    return _construct(cls, arguments, key)


def _transform_class(name: str, key: str) -> Any:
    """Look up a transform: a composition, or a class other than the base classes and Lambda, which takes code."""
    from components.stages.views.rand_augment import RandAugment

    library = albumentations()
    unusable = (library.BasicTransform, library.DualTransform, library.ImageOnlyTransform, library.Transform3D, library.Lambda)
    classes = {n: c for n, c in vars(library).items() if inspect.isclass(c) and issubclass(c, library.BasicTransform)}
    own = {"RandAugment": RandAugment}
    known = {n for n, c in classes.items() if c not in unusable} | {*COMPOSITIONS, *own}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise SettingsError(f"{key}: albumentations has no transform {name!r}" + (f"; near: {', '.join(near)}" if near else ""))
    return own.get(name) or getattr(library, name)


def _check_arguments(cls: Any, arguments: dict[str, Any], key: str) -> None:
    allowed = sorted(set(inspect.signature(cls).parameters) - set(NOT_USERS))
    for argument in arguments:
        if argument not in allowed:
            near = difflib.get_close_matches(argument, allowed, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise SettingsError(f"{key}: unknown argument {argument!r}; allowed: {', '.join(allowed)}{hint}")
    probability = arguments.get("p", 1)  # compositions do not check theirs
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise SettingsError(f"{key}.p: {probability!r} is not allowed: a probability from 0 to 1 is expected")


def _construct(cls: Any, arguments: dict[str, Any], key: str) -> Any:
    """Construct the transform. Warnings are errors: albumentations replaces invalid values by defaults after some."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return cls(**arguments)
    except Exception as error:  # constructors raise ValueError, TypeError, ZeroDivisionError ... on wrong values
        raise SettingsError(f"{key}: {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    """Format the error on one line; pydantic's errors as ``argument: value is not allowed: why``."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return "; ".join(dict.fromkeys(_fault(fault) for fault in cause.errors()))
    return " ".join(str(error).split()) or type(error).__name__


def _fault(fault: Any) -> str:
    if not fault["loc"]:
        return str(fault["msg"])
    argument, missing = fault["loc"][0], fault["type"] == "missing"
    return f"{argument}: missing" if missing else f"{argument}: {fault['input']!r} is not allowed: {fault['msg']}"
