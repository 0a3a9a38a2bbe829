"""Keys that DVC needs and that params.yaml leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.pipeline.fill import Added, fill_in
from flows.yaml_edit import add_key

BLOCK = """# whose file this is
datasets:
  flowers:          # mine
    source: folder
    path: photos    # 60 of them

# the run
runs:
  flowers:
    train:
      steps: 10     # few
      # more below

  other: {train: {}, view: v}   # by itself
  last:
    list:
      - a: 1
"""


@pytest.mark.parametrize(
    ("entry", "before", "after"),
    [
        (Added(("runs", "flowers"), "export", "{}"), "steps: 10     # few\n", "steps: 10     # few\n    export: {}\n"),
        (Added(("runs", "other"), "export", "{}"), "view: v}   #", "view: v, export: {}}   #"),
        (Added(("runs", "last"), "export", "{}"), "- a: 1\n", "- a: 1\n    export: {}\n"),
        (Added(("datasets", "flowers"), "seed", "1"), "# 60 of them\n", "# 60 of them\n    seed: 1\n"),
        (Added((), "root", "."), "\ndatasets:", "\nroot: .\ndatasets:"),
    ],
)
def test_a_key_is_added_and_nothing_else_changes(entry: Added, before: str, after: str) -> None:
    text = add_key(BLOCK, entry.block, entry.key, entry.value)
    assert text == BLOCK.replace(before, after)
    block = YAML(typ="safe").load(text)
    for key in entry.block:
        block = block[key]
    assert block[entry.key] == YAML(typ="safe").load(entry.value)


@pytest.mark.parametrize(
    "text", ['{"runs": {"a": {"x": [1, {"b": 2}]}}}', '{"runs": {"a": {}}}', "runs:\n  a: {x: [1,\n    2]}"]
)
def test_a_key_is_added_in_flow_style(text: str) -> None:
    old = YAML(typ="safe").load(text)
    new = YAML(typ="safe").load(add_key(text, ("runs", "a"), "export", "{}"))
    assert new == {"runs": {"a": {**old["runs"]["a"], "export": {}}}}


def test_what_dvc_needs_is_written_once(done: Any) -> None:
    def leave_out(content: dict[str, Any]) -> None:
        del content["runs"]["a"]["export"], content["seed"]

    done.change(leave_out)
    expected = ["seed: 0", "runs.a.export: {}"]
    assert fill_in(done.project()) == [f"params.yaml: added {line}" for line in expected]
    text = (done.folder / "params.yaml").read_text()
    assert fill_in(done.project()) == []
    assert (done.folder / "params.yaml").read_text() == text
    assert "up to date" in done.dvc("status", "export@a")  # DVC refuses a missing parameter
