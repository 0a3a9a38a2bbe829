"""The status without DVC is DVC's: the same graph, order and reasons after edits at random; the rest is left to DVC."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.core.inputs.declared import Unusual
from flows.dvc import index
from flows.dvc.graph import Graph
from flows.dvc.unloaded.status import read_status
from flows.project import Project

TARGETS = ["evaluate@a", "evaluate@b", "evaluate@c", "ood_table@odd"]
EDITS, MANY = 15, 200


def both(fake: Any) -> tuple[Any, Any]:
    graph, why = read_status(fake.project(), TARGETS)
    theirs, their_why, _ = index._read_graph(fake.project(), TARGETS)
    return (graph.needs, graph.order(), why), (theirs.needs, theirs.order(), their_why)


def some_file(folder: Path, draw: random.Random, below: str = "outputs") -> Path:
    return draw.choice(sorted(path for path in (folder / below).rglob("*") if path.is_file() and not path.is_symlink()))


def edit_param(folder: Path, draw: random.Random) -> None:
    content = json.loads((folder / "params.yaml").read_text())
    run = content["runs"][draw.choice("abc")]
    value = draw.choice([1, 1.0, True, "1", None, [1], {"x": 1}, 2])
    run.setdefault(draw.choice(["train", "export", "evaluate"]), {})[draw.choice(["rate", "threads"])] = value
    content["datasets"]["d"] = draw.choice([content["datasets"]["d"], {"path": "data.txt", "source": "fake"}])
    (folder / "params.yaml").write_text(json.dumps(content, indent=draw.choice([None, 1, 2])))


def remove_param(folder: Path, draw: random.Random) -> None:
    content = json.loads((folder / "params.yaml").read_text())
    content["runs"][draw.choice("abc")].pop(draw.choice(["export", "evaluate"]), None)
    (folder / "params.yaml").write_text(json.dumps(content))


def edit_file(folder: Path, draw: random.Random) -> None:
    path = some_file(folder, draw)
    path.chmod(0o644)
    path.write_bytes(bytes(draw.choices(b"xyz", k=path.stat().st_size)))


def touch(folder: Path, draw: random.Random) -> None:
    os.utime(some_file(folder, draw))


def add_file(folder: Path, draw: random.Random) -> None:
    some_file(folder, draw).parent.joinpath(draw.choice(["new", "__pycache__", "ü"])).write_text("new")


def add_empty_folder(folder: Path, draw: random.Random) -> None:
    some_file(folder, draw).parent.joinpath("empty").mkdir(exist_ok=True)


def add_link_to_folder(folder: Path, draw: random.Random) -> None:
    link = some_file(folder, draw).parent / "link"
    if not link.is_symlink():
        link.symlink_to(folder / ".git")


def remove_file(folder: Path, draw: random.Random) -> None:
    some_file(folder, draw).unlink()


def remove_folder(folder: Path, draw: random.Random) -> None:
    shutil.rmtree(some_file(folder, draw).parent)


def remove_object(folder: Path, draw: random.Random) -> None:
    some_file(folder, draw, ".dvc/cache/files").unlink()


def edit_data(folder: Path, draw: random.Random) -> None:
    (folder / "data.txt").write_text(draw.choice(["data\n", "daten", ""]))


def edit_lock(folder: Path, draw: random.Random) -> None:
    """Cut a line, or a digit of a hash, or a whole entry out of dvc.lock."""
    path = folder / "dvc.lock"
    entries = index.entries.find_entries(path.read_text())
    name = draw.choice(sorted(entries))
    lines = entries[name].splitlines(keepends=True)
    kind = draw.choice(["entry", "command", "md5", "dep"])
    if kind == "entry":
        lines = []
    elif kind == "command":
        lines[1] = "    cmd: another\n"
    elif kind == "md5":
        lines = [line.replace("md5: ", "md5: 0") if "      md5:" in line and draw.random() < 0.5 else line for line in lines]
    elif "    deps:\n" in lines:
        start = lines.index("    deps:\n")
        end = next((n for n in range(start + 2, len(lines)) if not lines[n].startswith("      ")), len(lines))
        keeps_none = not (end < len(lines) and lines[end].startswith("    - "))
        lines[start + (0 if keeps_none else 1) : end] = []
    path.write_text(index.entries.join({**entries, name: "".join(lines)}))


ALL: list[Callable[[Path, random.Random], None]] = [
    *(edit_param, edit_param, remove_param, edit_file, edit_file, touch, add_file, add_empty_folder, add_link_to_folder),
    *(remove_file, remove_folder, remove_object, edit_data, edit_lock, edit_lock),
]


@pytest.mark.parametrize(("seed", "edits"), [(0, EDITS), pytest.param(1, MANY, marks=pytest.mark.slow)])
def test_after_edits_at_random_it_says_what_dvc_says(
    done: Any, tmp_path: Path, monkeypatch: Any, seed: int, edits: int
) -> None:
    """Edits add up to five deep, then the project is as it was; nothing else may hide a difference."""
    monkeypatch.chdir(done.folder)
    shutil.copytree(done.folder, tmp_path / "kept", symlinks=True)
    draw, made = random.Random(seed), []
    ours, theirs = both(done)
    assert ours == theirs
    assert not any(ours[2].values())
    for number in range(edits):
        if number % 5 == 0:
            made = []
            for name in ("outputs", ".dvc/cache"):
                shutil.rmtree(done.folder / name)
            shutil.copytree(tmp_path / "kept", done.folder, symlinks=True, dirs_exist_ok=True)
        edit = draw.choice(ALL)
        made.append(edit.__name__)
        edit(done.folder, draw)
        ours, theirs = both(done)
        assert ours == theirs, made


def test_a_project_in_which_nothing_ran_is_planned_in_the_same_order(new: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(new.folder)
    ours, theirs = both(new)
    assert ours == theirs
    assert {why for lines in ours[2].values() for why in lines} == {"never run"}


def test_a_study_is_planned_by_its_own_files(done: Any) -> None:
    done.study("mine")
    graph, why = read_status(done.project("mine"), TARGETS)
    theirs, their_why, _ = index._read_graph(done.project("mine"), TARGETS)
    assert (graph.needs, why) == (theirs.needs, their_why)
    assert why["train@a"] == ["never run"]


def edit_graph(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / "dvc.yaml").read_text()
        assert old in text
        (folder / "dvc.yaml").write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    "change",
    [
        edit_graph('outs: ["outputs/export/${key}"]', 'outs: [{"outputs/export/${key}": {"cache": false}}]'),
        edit_graph('outs: ["outputs/export/${key}"]', 'frozen: true\n      outs: ["outputs/export/${key}"]'),
        edit_graph('outs: ["outputs/export/${key}"]', 'outs: ["outputs/train/${key}/x"]'),
        edit_graph('params: ["datasets.${key}"]', "params: [other.yaml: [x]]"),
        lambda folder: (folder / "outputs/views/v/.dvcignore").write_text("x"),
        lambda folder: (folder / ".dvcignore").write_text("*.txt"),
        lambda folder: (folder / "dvc.lock").write_text("# mine\n" + (folder / "dvc.lock").read_text()),
        lambda folder: (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n"),
        lambda folder: (folder / ".dvc/tmp/rwlock").write_text('{"write": {"x": {"pid": 1, "cmd": "y"}}}'),
        lambda folder: next((folder / ".dvc/cache/files").rglob("??/*")).chmod(0o644),
        lambda folder: (folder / "params.yaml").write_text("runs: ["),
    ],
)
def test_what_only_dvc_can_tell_is_left_to_it(done: Any, change: Callable[[Path], object]) -> None:
    change(done.folder)
    with pytest.raises((Unusual, ValueError)):
        read_status(done.project(), TARGETS)


def test_a_parsed_text_is_not_taken_for_another(done: Any) -> None:
    assert not any(read_status(done.project(), TARGETS)[1].values())
    project = done.project()
    read_status(project, TARGETS)
    project.texts.save()
    done.change(lambda content: content["runs"]["a"]["train"].update(rate=2))
    assert read_status(Project(done.folder), TARGETS)[1]["train@a"] == ["runs.a.train.rate: 2 added"]


def test_the_order_is_that_of_dvc_yaml_where_the_graph_leaves_it_open() -> None:
    graph = Graph({"c": frozenset(), "a": frozenset("b"), "b": frozenset(), "d": frozenset("c")})
    assert graph.order() == ["c", "b", "a", "d"]
    assert list(graph.of(["a"]).needs) == ["a", "b"]
    with pytest.raises(ValueError, match="circle"):
        Graph({"a": frozenset("b"), "b": frozenset("a")}).order()
