"""Parser for dvc.lock: entries by stage, their paths, their content. It needs neither DVC nor a full YAML parse.

A YAML parser takes a second for the lock file of forty runs, so each entry is cut out of the text and parsed separately. The
layout is DVC's own: two spaces before the name of a stage, four before its keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

LOCK = "dvc.lock"
HEAD = "schema: '2.0'\nstages:\n"
# A name, which YAML may quote, and the lines below it, which are indented further or empty.
ENTRY = re.compile(r"""^  ['"]?([A-Za-z][\w@.-]*)['"]?:\n(?:(?:   .*)?\n)+""", re.MULTILINE)


def find_entries(text: str) -> dict[str, str]:
    """Map each stage to its lines, in order. Other lines are ignored; the text may be truncated."""
    lines = text if text.endswith("\n") else f"{text}\n"
    return {match[1]: match[0] for match in ENTRY.finditer(lines)}


def split(text: str) -> dict[str, str] | None:
    """Map each stage to its lines; None if ``text`` has other content, such as a comment, which ``join`` would lose."""
    entries = find_entries(text) if text else {}
    return entries if not text or text == join(entries) else None


def join(entries: Mapping[str, str]) -> str:
    """Join the entries to the text of a dvc.lock."""
    return HEAD + "".join(entries.values())


def parse_entry(lines: str) -> dict[str, Any]:
    """Parse one entry (cmd, deps, params, outs). Raises YAMLError of ruamel.yaml."""
    (content,) = _load(lines).values()
    return dict(content)


def parse_stages(text: str) -> dict[str, Any]:
    """Parse a whole dvc.lock: stage -> its content."""
    return dict(_load(text)["stages"])


def paths(lines: str, section: str) -> list[PurePosixPath]:
    """Return the paths below ``deps`` or ``outs`` of an entry's lines."""
    block = re.search(rf"^    {section}:\n((?:    [- ] .*\n)*)", lines, re.MULTILINE)
    names = re.findall(r"^    - path: (.*)$", block[1], re.MULTILINE) if block else []
    return [PurePosixPath(path.strip("'\"")) for path in names]


def _load(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    content: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return content
