"""DVC hands its commands to a shell. Nothing of params.yaml gets there, also where no flow has checked the file before."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbench import make_project, run, toy_params, write_params

HOSTILE = [
    "a; touch hijacked",
    "a$(touch hijacked)",
    "a'; touch hijacked; '",
    'a"; touch hijacked; "',
    "a`touch hijacked`",
    "a\ntouch hijacked",
    "a|touch hijacked",
]


@pytest.mark.slow
def test_of_a_bare_dvc(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", toy_params())
    for words in HOSTILE:
        params = toy_params()
        params["datasets"][words] = params["datasets"]["digits"]
        write_params(project, params)
        done = run("dvc", "repro", f"fetch@{words}", cwd=project, check=False)
        # Stage code names the fault and writes no digest for such a block, which DVC then misses.
        assert "is not allowed: a name starts with a letter" in done.stdout + done.stderr, done.stdout + done.stderr
        assert "No such file" in done.stderr, done.stderr
        write_params(project, toy_params() | {"root": words})
        done = run("dvc", "repro", "fetch@digits", cwd=project, check=False)
        assert "No such file" in done.stderr, done.stderr
        assert not list(project.rglob("hijacked*"))
