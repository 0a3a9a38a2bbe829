"""dvc.lock by its entries, beside DVC's own way: the same bytes, and never half of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml

from components.core.dvc_lock import HEAD, join, split
from flows.dvc import entries
from flows.dvc.index import sort_lock

Fake = Any
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = entries.PROGRAM


def repro(fake: Fake, *words: str) -> str:
    """``dvc repro`` by entries; what it says."""
    command = [sys.executable, "-P", str(PROGRAM), "repro", *words]
    return subprocess.run(command, cwd=fake.folder, env=fake.env(), check=True, capture_output=True, text=True).stdout


def lock(fake: Fake) -> Path:
    path: Path = fake.folder / "dvc.lock"
    return path


def test_entries_are_dvcs_own_dump_of_them() -> None:
    """Of this repository's locks every tenth entry, all kinds of stages among them."""
    texts = [path.read_text() for path in (ROOT / "dvc.lock", ROOT / "experiments/translate-glyphs/dvc.lock")]
    for text in texts:
        parts = split(text)
        assert parts is not None
        assert join(parts) == text
        for name in list(parts)[::10]:
            content = parse_yaml(HEAD + parts[name], "dvc.lock")
            assert dumps_yaml(content) == HEAD + parts[name]
            assert list(content["stages"]) == [name]


def test_a_pipeline_from_nothing_and_a_changed_one_have_dvcs_bytes(new: Fake, made: Path) -> None:
    assert "Generating lock file 'dvc.lock'" in repro(new)
    assert lock(new).read_bytes() == (made / "dvc.lock").read_bytes()
    new.change(lambda content: content["runs"]["a"]["train"].update(note="é " + "long " * 30))
    assert "Updating lock file 'dvc.lock'" in repro(new, "-s", "train@a")
    by_entry = lock(new).read_bytes()
    shutil.copy(made / "dvc.lock", lock(new))
    new.dvc("repro", "-s", "train@a")  # restored from the run cache, and recorded by DVC
    assert lock(new).read_bytes() == by_entry
    assert "didn't change, skipping" in repro(new, "-s", "train@a")


def test_what_dvc_did_not_write_so_is_left_to_dvc(done: Fake) -> None:
    path = lock(done)
    path.write_text("# mine\n" + path.read_text())
    assert split(path.read_text()) is None
    repro(done, "-f", "-s", "train@a")
    assert path.read_text().startswith("# mine\nschema:")
    assert done.dvc("status") == "Data and pipelines are up to date.\n"


def test_killed_while_it_writes_the_old_text_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text("old")

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        entries.write_lock(path, "new", tmp_path)
    assert path.read_text() == "old"
    monkeypatch.undo()
    entries.write_lock(path, "new", tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("dvc.lock", "new")]


def test_entries_are_sorted_and_unknown_ones_come_last(done: Fake) -> None:
    path = lock(done)
    before = split(path.read_text())
    assert before is not None
    wanted = sorted(before)
    entries.sort(path, {name: number for number, name in enumerate(wanted[:-1])}, done.folder)
    after = split(path.read_text())
    assert after is not None
    assert list(after) == wanted
    assert after == before


def test_without_a_lock_there_is_nothing_to_sort(new: Fake) -> None:
    """The first stage of a new project failed: the end of the flow, which sorts the lock, must come to its tables."""
    sort_lock(new.project())
    assert not lock(new).exists()
