"""What gc takes for garbage among files: DVC's cache, and the state folder."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from components.core import settings
from flows.project import AnotherRun
from flows.upkeep.cache import unused_cache, used_hashes
from flows.upkeep.garbage import DAY, Garbage, collect, exclusive_access, leftovers

Fake = Any


def write(path: Path, text: str = "x", days: float = 0.0) -> Path:
    """A file that was last changed ``days`` ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def put(fake: Fake, letter: str, text: str = "x", folder: bool = False) -> str:
    """An object in DVC's cache, of 30 days; its hash is a row of one letter."""
    name = letter * 32 + (".dir" if folder else "")
    write(fake.folder / ".dvc/cache/files/md5" / name[:2] / name[2:], text, days=30)
    return name


def lock(folder: Path, *names: str) -> None:
    outs = "".join(f"    - path: {name[0]}\n      hash: md5\n      md5: {name}\n" for name in names)
    write(folder / "dvc.lock", f"schema: '2.0'\nstages:\n  s:\n    cmd: c\n    outs:\n{outs}")


def git(fake: Fake, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *who, *words], cwd=fake.folder, check=True, capture_output=True)


def names(found: list[Garbage]) -> list[str]:
    return [Path(garbage.what).parent.name + Path(garbage.what).name for garbage in found]


def test_objects_that_no_lock_file_of_anyone_names(new: Fake) -> None:
    by_study, by_workspace, by_version = put(new, "a"), put(new, "c"), put(new, "d")
    by_folder = put(new, "e", json.dumps([{"md5": put(new, "1"), "relpath": "x"}]), folder=True)
    by_branch, staged, added = put(new, "b"), put(new, "2"), put(new, "3")
    unused, unused_folder = put(new, "f"), put(new, "9", json.dumps([{"md5": "f" * 32, "relpath": "x"}]), folder=True)
    young = put(new, "8")
    os.utime(new.folder / ".dvc/cache/files/md5" / young[:2] / young[2:])

    git(new, "add", "params.yaml")
    git(new, "commit", "-m", "start")
    git(new, "checkout", "-b", "other")
    lock(new.folder, by_branch)
    git(new, "add", "-f", "dvc.lock")
    git(new, "commit", "-m", "on a branch")
    git(new, "checkout", "-")
    lock(new.folder, staged)
    git(new, "add", "-f", "dvc.lock")
    lock(new.folder, by_workspace, by_folder)
    new.study("s")
    lock(new.folder / "experiments" / "s", by_study)
    write(new.folder / "data" / "pictures.dvc", f"outs:\n- md5: {added}\n  path: pictures\n")

    entries = new.folder / ".dvc/cache/runs/00"
    kept = write(entries / "k" / "v", f"cmd: c\nouts:\n- md5: {by_workspace}\n")
    gone = write(entries / "g" / "v", f"cmd: c\ndeps:\n- md5: {by_workspace}\nouts:\n- md5: {unused}\n")

    found = list(unused_cache(new.project(), 1, {by_version}))
    assert names(found) == ["gv", unused_folder, unused]  # in this order nothing that is left names what is gone
    for garbage in found:
        garbage.remove()
    assert (kept.is_file(), gone.is_file()) == (True, False)
    assert list(unused_cache(new.project(), 1, {by_version})) == []
    assert names(list(unused_cache(new.project(), 1, set()))) == [by_version]


def test_what_commits_of_a_larger_repository_name_stays(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "team" / "project"
    lock(folder, "a" * 32)
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "repository")], check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *who, "add", "-f", "."], cwd=folder, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "-m", "first"], cwd=folder, check=True)
    lock(folder, "b" * 32)
    assert used_hashes(folder) >= {"a" * 32, "b" * 32}


def test_without_the_lineage_of_a_version_the_cache_is_left(new: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.registry import tracking
    from flows.upkeep import tracking as upkeep

    put(new, "f")
    monkeypatch.setattr(upkeep, "has_server", lambda: True)
    monkeypatch.setattr(tracking, "connect", lambda: None)
    monkeypatch.setattr(upkeep, "unreferenced", lambda client, days: [])
    monkeypatch.setattr(upkeep, "lineage_hashes", lambda client: (set(), ["a version 3"]))
    (note,) = collect(new.project(), 1)
    assert "what a version 3 came from is not known" in note.what
    monkeypatch.setattr(upkeep, "lineage_hashes", lambda client: (set(), []))
    assert [garbage.what[:21] for garbage in collect(new.project(), 1)] == [".dvc/cache/files/md5/"]


def test_checkpoints_and_notes(new: Fake) -> None:
    work = settings.WORK
    for folder, days in {
        "train@project.a/newest": 20,
        "train@project.a/older": 30,
        "train@project.b/young": 1,
        "train@gone/x": 30,
        "train@gone/y": 1,
    }.items():
        write(work / "checkpoints" / folder / "000000001.pt", days=days)
        os.utime(work / "checkpoints" / folder, (0, 0))
    kept = ("latency/project.a.json", "logs/up.log", "audit.jsonl", "reports/project.a/index.html")
    for name in (*kept, "latency/gone.json", "aside/20200101/x", "logs/up.old.log", "reports/gone/x", "reports/compare-a/x"):
        write(work / name, days=30)
    for name in ("listings/0a.dir.json", "listings/0b.dir.json", "parsed/root.json", "traffic/a/1-k/p.json"):
        write(work / name, days=30)
    os.utime(work / "traffic/a/1-k", (0, 0))
    (new.folder / "dvc.lock").write_text("md5: 0a.dir\n")
    for folder in ("aside/20200101", "reports/project.a", "reports/gone", "reports/compare-a"):
        os.utime(work / folder, (0, 0))

    def whats() -> list[str]:
        return [garbage.what.removeprefix(".work/") for garbage in leftovers(new.project(), 14)]

    checkpoints = ["checkpoints/train@gone/x", "checkpoints/train@project.a/older"]
    old = [
        "listings/0b.dir.json",
        "logs/up.old.log",
        "aside/20200101",
        "reports/compare-a",
        "parsed/root.json",
        "traffic/a/1-k",
    ]
    assert whats() == [*checkpoints, "latency/gone.json", "reports/gone", *old]
    new.study("broken", "runs: [")  # its runs are not known, so that none can be said to be gone
    assert whats() == [*checkpoints, *old]


def test_nothing_goes_while_someone_is_at_work(new: Fake) -> None:
    held = {"x": {"pid": os.getpid(), "cmd": "pytest"}}
    path = write(new.folder / ".dvc/tmp/rwlock", json.dumps({"write": held}))
    with pytest.raises(AnotherRun, match="is at work"), exclusive_access(new.project()):
        pass
    path.unlink()
    new.study("s")
    with write(settings.WORK / "locks" / "pipeline-s", "1").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AnotherRun), exclusive_access(new.project()):
            pass
    with exclusive_access(new.project()):
        pass


def test_dry_run_lists_and_keeps(new: Fake) -> None:
    name = put(new, "f", "x" * 2000)
    path = new.folder / ".dvc/cache/files/md5" / name[:2] / name[2:]

    def gc(*words: str) -> str:
        process = new.flows("gc", *words)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return str(output)

    listed = gc("--dry-run")
    assert "2.0 KB  .dvc/cache/files/md5/ff/" in listed
    assert listed.endswith("1 things, 2.0 KB, would go\n")
    assert path.is_file()
    assert gc().endswith("1 things, 2.0 KB, removed\n")
    assert not path.exists()
