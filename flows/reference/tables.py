"""Tables of settings in Markdown: key, what it takes, default, meaning."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from components.core.config.wording import in_words, limits, meanings

HEAD = "| key | takes | default | meaning |\n|---|---|---|---|\n"


@dataclass(frozen=True)
class Setting:
    """A row: ``takes`` in words with the range; ``default`` as YAML, "required" if there is none."""

    key: str
    takes: str
    default: str
    meaning: str


def settings_of(cls: type[BaseModel], prefix: str = "", own: Any = None, deep: bool = True) -> Iterator[Setting]:
    """Yield the settings of a class, and, if ``deep``, of the classes of its keys.

    ``own``: the class whose docstring explains its keys.
    """
    for name, field in cls.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = _class_in(field.annotation)
        yield Setting(key, _takes(field), _default(field), _meaning(own or cls, name, field, inner))
        if inner is not None and deep:
            yield from settings_of(inner, f"{key}[]." if _is_list(field.annotation) else f"{key}.")


def table(rows: Iterator[Setting]) -> str:
    """Format the rows; "" for none."""
    lines = [f"| `{row.key}` | {_cell(row.takes)} | {_code(row.default)} | {_cell(row.meaning)} |\n" for row in rows]
    return HEAD + "".join(lines) if lines else ""


def _takes(field: FieldInfo) -> str:
    return ", ".join(filter(None, (in_words(field.annotation), limits(field.metadata))))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    plain = value.model_dump(exclude_defaults=True) if isinstance(value, BaseModel) else value
    return json.dumps(plain, default=_plain, ensure_ascii=False).replace('"', "")


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_defaults=True) if isinstance(value, BaseModel) else str(value)


def _meaning(cls: Any, name: str, field: FieldInfo, inner: type[BaseModel] | None) -> str:
    """Return the field's description, or what the docstring of its class, a base or its type says."""
    if field.description:
        return field.description
    for base in inspect.getmro(cls):
        if name in (found := meanings(base.__doc__)):
            return found[name]
    return _sentence(inner) if inner is not None else ""


def _sentence(cls: type[BaseModel]) -> str:
    """Return the first sentence of a class's docstring."""
    text = " ".join(inspect.cleandoc(cls.__doc__ or "").split())
    return text.partition(". ")[0].rstrip(".").replace("``", "`")


def _class_in(annotation: Any) -> type[BaseModel] | None:
    """Return the settings class in a type, of ``Splits``, ``BoxSettings | None`` or ``tuple[SamplerRow, ...]``."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((cls for part in get_args(annotation) if (cls := _class_in(part)) is not None), None)


def _is_list(annotation: Any) -> bool:
    return "a list" in in_words(annotation)


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _code(default: str) -> str:
    return default if default == "required" else f"`{default}`" if default else "empty"
