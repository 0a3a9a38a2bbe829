"""What stands for a class in words. Imports no torch: ``detect`` blocks have prompts too."""

from __future__ import annotations

import string

from pydantic import Field, field_validator

from components.core.config.strict import Strict

PHOTO = "a photo of a {}."  # section 3.1.4


class Prompts(Strict):
    """What stands for a class: its words in each template; the mean of their embeddings (section 3.1.4)."""

    templates: tuple[str, ...] = Field(default=(PHOTO,), min_length=1, description="texts with one {} for the class's words")
    names: dict[str, str] = Field(default={}, description="class -> its words; for others the class's own name")

    @field_validator("templates")
    @classmethod
    def _has_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if not has_place(template):
                raise ValueError(f"the template {template!r} must have {{}} once, where the class's words go")
        return templates

    @field_validator("names")
    @classmethod
    def _has_words(cls, names: dict[str, str]) -> dict[str, str]:
        if empty := [name for name, words in names.items() if not words.strip()]:
            raise ValueError(f"the class {empty[0]!r} has no words")
        return names


def has_place(template: str) -> bool:
    """Return whether a template has exactly one {} and no other field."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError:
        return False
    return fields == [""]
