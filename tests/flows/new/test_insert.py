"""Blocks are inserted into params.yaml as text: nothing else of the file changes."""

from __future__ import annotations

import difflib
import io
from typing import Any

import pytest
from ruamel.yaml import YAML
from workbench import ROOT

from flows.new.insert import insert

BLOCK = {"dataset": "x", "split": {"by": "image", "test": 0.2}, "augment": [{"Affine": {"rotate": [-8, 8], "p": 1.0}}]}


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(io.StringIO(text))


@pytest.mark.parametrize("section", ["datasets", "views", "runs", "links", "detect", "ood", "monitor"])
def test_every_other_byte_of_the_projects_own_file_stays(section: str) -> None:
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    after = insert(before, section, "flowers", BLOCK)
    diff = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert [line for line in diff if line.startswith(("-", "?"))] == []
    content = parsed(before)
    content.setdefault(section, {})["flowers"] = BLOCK
    assert parsed(after) == content


@pytest.mark.parametrize(
    "text",
    [
        "views: {}   # none yet\nruns: {}\n",
        "views: null\nruns: {}\n",
        "views:    # none yet\nruns: {}",
        "runs: {}",
        "views: {a: {b: 1},\n  c: {}}\nruns: {}\n",
        "views:\n    a:\n      - x: |\n          text\n    # of views\n\n# of runs\nruns: {}\n",
        "views:\n  a: 1   # no newline at the end",
        '{"views": {"a": 1}, "runs": {}}',
    ],
)
def test_any_way_to_write_a_section(text: str) -> None:
    content = parsed(text)
    after = insert(text, "views", "flowers", BLOCK)
    assert parsed(after) == content | {"views": (content.get("views") or {}) | {"flowers": BLOCK}}
    for comment in ("# none yet", "# of views", "# of runs", "# no newline at the end"):
        assert (comment in text) == (comment in after)


def test_what_is_no_mapping_is_refused() -> None:
    for text in ("- a", "views: 3\n"):
        with pytest.raises(ValueError, match="a mapping is expected"):
            insert(text, "views", "flowers", BLOCK)
