"""Stages and commands find the project's interpreter, whatever `python` comes first in the PATH."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workbench import ROOT

BARE = [getattr(sys, "_base_executable", sys.executable), "-S"]  # no package is installed for it


@pytest.fixture
def clone(tmp_path):
    """The code alone."""
    folder = tmp_path / "clone"
    folder.mkdir()
    code = ("components/__init__.py", "components/__main__.py", "components/interpreter.py")
    code += ("flows/__init__.py", "flows/__main__.py")
    for path in code:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text((ROOT / path).read_text(encoding="utf-8"))
    return folder


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "DARKROOM_RESTARTED"}
    command = [*BARE, "-m", *(words or ("components", "train", "digits"))]
    return subprocess.run(command, cwd=folder, env=env | {"PYTHONPATH": "."}, capture_output=True, text=True, check=False)


def make_environment(clone: Path) -> None:
    """An interpreter that only tells how it was started."""
    own = clone / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "own: $@"\n')
    own.chmod(0o755)


def test_the_command_is_started_again_with_the_interpreter_of_the_clone(clone):
    make_environment(clone)
    ended = start(clone)
    assert (ended.returncode, ended.stdout) == (0, "own: -m components train digits\n"), ended.stderr


def test_the_commands_of_the_readme_need_no_activated_environment(clone):
    refused = start(clone, "flows", "new", "flowers", "photos")
    assert refused.returncode == 2
    assert "`make plan` makes .venv" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    make_environment(clone)
    ended = start(clone, "flows", "new", "flowers", "photos")
    assert (ended.returncode, ended.stdout) == (0, "own: -m flows new flowers photos\n"), ended.stderr


def test_an_experiment_in_a_copy_uses_the_interpreter_of_its_clone(clone):
    make_environment(clone)
    copy = clone / ".dvc" / "tmp" / "exps" / "tmpabc"
    copy.mkdir(parents=True)
    (clone / "components").rename(copy / "components")
    assert start(copy).stdout == "own: -m components train digits\n"


def test_without_one_a_line_says_what_to_do(clone):
    ended = start(clone)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "lacks pydantic; `make plan` makes .venv" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_queued_experiment_keeps_its_state_in_its_clone():
    from components.core.settings import work_folder

    assert work_folder(Path("/a/clone/.dvc/tmp/exps/tmpabc")) == Path("/a/clone/.work")
    assert work_folder(Path("/a/clone")) == Path("/a/clone/.work")
