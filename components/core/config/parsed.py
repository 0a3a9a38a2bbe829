"""Cache of parsed YAML texts: parsing takes most of a plan's time, and the content of a text never changes.

A file of ``.work/parsed`` maps the SHA-256 of a text to its content as JSON. Only content that JSON gives back as it was is
kept: no dates, no NaN, no keys that are not text. Part of no code digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.core.files import read_json, write_json


class ParsedTexts:
    """The cache in the file ``path``. ``save`` keeps what was asked for since it was read, and drops the rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] | None = None
        self._used: dict[str, str] = {}
        self._parser = version("ruamel.yaml")

    def get(self, text: str, parse: Callable[[str], Any], kind: str) -> Any:
        """Return ``parse(text)``, a new object each time. ``kind``: names the parser, for texts that two of them read."""
        if self._known is None:
            self._known = read_json(self._path)
        key = hashlib.sha256(f"{self._parser} {kind}\n{text}".encode()).hexdigest()
        known = self._used.get(key) or self._known.get(key)
        if isinstance(known, str):
            try:
                content = json.loads(known)
            except ValueError:
                pass  # a damaged cache
            else:
                self._used[key] = known
                return content
        content = parse(text)
        if (plain := as_json(content)) is not None:
            self._used[key] = plain
        return content

    def save(self) -> None:
        """Write the cache if it has changed; one that cannot be written is gone without."""
        if self._used.keys() - (self._known or {}).keys():
            self._known = dict(self._used)
            try:
                write_json(self._path, self._known)
            except OSError:
                return


def as_json(content: Any) -> str | None:
    """Serialise content that JSON gives back equal, with the same types; None for other content."""
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return text if _same(json.loads(text), content) else None


def _same(one: Any, other: Any) -> bool:
    """Compare values and types: 1, 1.0 and True are equal in Python. Order of keys counts."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
