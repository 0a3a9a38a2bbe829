"""dvc.lock by its entries, beside DVC's own way: the same bytes, and never half of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.utils.serialize import YAMLFileCorruptedError, dumps_yaml, parse_yaml

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


def test_no_entry_of_this_repository_refers_to_another() -> None:
    locks = [ROOT / "dvc.lock", *(ROOT / "experiments").glob("*/dvc.lock")]
    assert len(locks) > 10
    assert [path for path in locks if entries.ANCHOR.search(path.read_text())] == []


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


# ------------------------------------------------------------------------------- the patched methods, without a process


def test_an_alias_in_params_is_written_out_and_anchors_of_old_entries_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC's dump of an entry marks a list that occurs twice with an anchor; two entries then had the same, and no YAML."""
    words = ["a {}"]
    shared = {"params": {"params.yaml": {"evaluate": [{"templates": words}, {"templates": words}]}}}
    anchored = {name: dumps_yaml({name: shared}).replace("\n", "\n  ").rstrip() for name in ("train@a", "train@b")}
    broken = HEAD + "".join(f"  {text}\n" for text in anchored.values())
    assert broken.count("&id001") == 2
    with pytest.raises(YAMLFileCorruptedError):
        parse_yaml(broken, "dvc.lock")
    monkeypatch.setattr("dvc.stage.serialize.to_lockfile", lambda stage, **kwargs: {stage.name: shared})
    lock = fake_lock(tmp_path, broken)
    entries._dump(lock, [SimpleNamespace(name="train@c")])
    read = parse_yaml(Path(lock.path).read_text(), "dvc.lock")["stages"]
    assert read == dict.fromkeys(("train@a", "train@b", "train@c"), shared)
    assert "id001" not in Path(lock.path).read_text()


@pytest.fixture
def texts() -> dict[str, str]:
    """Three entries of this repository's lock."""
    parts = split((ROOT / "dvc.lock").read_text())
    assert parts is not None
    return dict(list(parts.items())[:3])


def fake_lock(folder: Path, text: str | None, protocol: str = "local") -> Any:
    """What the methods use of DVC's Lockfile; ``tracked``: what was given to git, ``seen``: checks of .gitignore."""
    path, tracked, seen = folder / "dvc.lock", [], []
    if text is not None:
        path.write_text(text)
    context = SimpleNamespace(track_file=tracked.append)
    repo = SimpleNamespace(tmp_dir=str(folder), scm_context=context, fs=SimpleNamespace(protocol=protocol))
    check = {"_check_gitignored": lambda: seen.append(1), "tracked": tracked, "seen": seen}
    return SimpleNamespace(path=str(path), relpath="dvc.lock", repo=repo, **check)


def test_of_a_damaged_lock_whole_and_single_entries_are_read(texts: dict[str, str]) -> None:
    one, two, three = texts.values()
    damaged = HEAD + one + two + two + three.replace("    cmd: ", "    cmd ")
    assert entries.readable(damaged) == {next(iter(texts)): one}
    assert entries.readable(HEAD + one + two + three) == texts
    assert entries.loads(HEAD + one)
    assert not entries.loads(HEAD + one.replace("    cmd: ", "    command: "))


def test_an_entry_is_parsed_when_it_is_asked_for(
    texts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_originals", {"load": lambda lock, **kwargs: ("theirs", kwargs)})
    lock = fake_lock(tmp_path, join(texts))
    content, text = entries._load(lock)
    assert (content["schema"], list(content["stages"]), len(content["stages"]), text) == ("2.0", list(texts), 3, "")
    for name in texts:
        assert content["stages"][name] == parse_yaml(HEAD + texts[name], "dvc.lock")["stages"][name]
        assert content["stages"][name] is content["stages"][name]
    with pytest.raises(KeyError):
        content["stages"]["none"]
    assert lock.seen == [1]
    assert entries._load(lock, validate=False) == ("theirs", {"validate": False})
    mine = "# mine\n" + join(texts)
    for text, protocol in ((join(texts), "git"), (mine, "local"), ("", "local")):
        assert entries._load(fake_lock(tmp_path, text, protocol)) == ("theirs", {})


def test_an_entry_takes_the_place_of_the_old_one(
    texts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs: list[Any] = []
    monkeypatch.setattr(entries, "_originals", {"dump_stages": lambda lock, stages, **kwargs: theirs.append(kwargs)})
    monkeypatch.setattr("dvc.stage.serialize.to_lockfile", lambda stage, **kwargs: {stage.name: {"cmd": stage.cmd}})
    second, new = SimpleNamespace(name=list(texts)[1], cmd="other"), SimpleNamespace(name="new@a", cmd="x")
    lock = fake_lock(tmp_path, join(texts))
    entries._dump(lock, [second, new])
    written = texts | {second.name: f"  {second.name}:\n    cmd: other\n", "new@a": "  new@a:\n    cmd: x\n"}
    assert Path(lock.path).read_text() == join(written)
    assert lock.tracked == ["dvc.lock"]
    before = Path(lock.path).stat().st_ino
    entries._dump(lock, [second])
    assert (Path(lock.path).stat().st_ino, lock.tracked, theirs) == (before, ["dvc.lock"], []), "nothing new: not written"
    entries._dump(fake_lock(tmp_path, "# mine\n" + join(texts)), [new], force=True)
    assert theirs == [{"force": True}]
    (tmp_path / "dvc.lock").unlink()
    entries._dump(fake_lock(tmp_path, None), [new])
    assert Path(lock.path).read_text() == join({"new@a": written["new@a"]})


def test_parameters_are_parsed_once_until_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("dvc.utils.serialize.load_path", lambda path, fs: (read.append(path), {"n": len(read)})[1])
    monkeypatch.setattr(entries, "_parameters", {})
    path = tmp_path / "params.yaml"
    path.write_text("a: 1")
    assert entries._load_parameters(str(path), None) is entries._load_parameters(str(path), None)
    state = path.stat()
    path.write_text("a: 2")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert entries._load_parameters(str(path), None) == {"n": 2}
    assert read == [str(path)] * 2


def test_the_program_is_dvc_with_these_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(entries, "install", lambda: calls.append("install"))
    monkeypatch.setattr("dvc.cli.main", lambda words: (calls.append(words), 7)[1])
    monkeypatch.setattr(sys, "argv", ["entries.py", "repro", "-s"])
    assert entries.main() == 7
    assert calls == ["install", ["repro", "-s"]]
