"""Which blocks of params.yaml need which: by their names, on the raw content, so that a broken block stops only its users."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

KINDS = ("datasets", "views", "runs", "links", "detect", "ood")  # of blocks that may have faults of their own
# Kind of block -> its keys that name a block of another kind.
NAMES = {
    "views": {"dataset": "datasets"},
    "runs": {"view": "views"},
    "links": {"run": "runs"},
    "detect": {"run": "runs", "view": "views"},
    "ood": {"detect": "detect", "view": "views"},
}
# Kind of stage -> kind of the block that it runs for.
BLOCKS = {"fetch": "datasets", "augment": "views", "link": "links", "detect": "detect", "ood_table": "detect", "ood": "ood"}
BLOCKS |= dict.fromkeys(("wire", "train", "export", "evaluate"), "runs")
Faults = dict[str, list[str]]  # "views.digits" -> its faults, one line each


def spread(raw: Mapping[str, Any], faults: Faults) -> None:
    """Note every block that needs one with faults."""
    blocks = [f"{kind}.{name}" for kind in KINDS for name in raw.get(kind, {})]
    size = -1
    while size != len(faults):
        size = len(faults)
        for block in blocks:
            if block not in faults and any(needed in faults for needed in references(raw, block)):
                faults[block] = []


def references(raw: Mapping[str, Any], block: str) -> list[str]:
    """Return the blocks that a block of params.yaml names: "runs.digits" -> ["views.digits"]. Existing ones alone."""
    kind, _, name = block.partition(".")
    content = raw.get(kind, {}).get(name)
    keys = content if isinstance(content, dict) else {}
    found = [f"{to}.{keys[key]}" for key, to in NAMES.get(kind, {}).items() if key in keys]
    if kind == "links" and (match := re.match(r"outputs/(views|train|export|evaluate|detect)/([^/]+)", str(keys.get("from")))):
        found.append(f"{match[1] if match[1] in ('views', 'detect') else 'runs'}.{match[2]}")
    return [other for other in found if other.split(".", 1)[1] in raw.get(other.split(".", 1)[0], {})]


def needed_blocks(raw: Mapping[str, Any], blocks: Iterable[str]) -> list[str]:
    """Return the blocks and all that they need: of a run its view, links, detectors and the views that these score."""
    needed: list[str] = []
    todo = list(blocks)
    while todo:
        block = todo.pop(0)
        if block in needed:
            continue
        needed.append(block)
        kind, _, name = block.partition(".")
        todo += references(raw, block)
        if kind == "runs":
            todo += _naming(raw, "links", "run", name) + _naming(raw, "detect", "run", name)
        if kind == "detect":
            todo += _naming(raw, "ood", "detect", name)
    return needed


def _naming(raw: Mapping[str, Any], kind: str, key: str, name: str) -> list[str]:
    """Return the blocks of a kind that name ``name`` under ``key``."""
    return [f"{kind}.{other}" for other, keys in raw.get(kind, {}).items() if isinstance(keys, dict) and keys.get(key) == name]
