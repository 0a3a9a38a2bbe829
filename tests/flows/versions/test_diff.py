"""``python -m flows diff`` between two commits, from DVC's cache and from its remote."""

import shutil

import numpy as np
import pytest
from PIL import Image
from workbench import run, write_params

from components.core.config.strict import parse
from components.core.settings import Workspace
from components.stages.augment import stage
from components.stages.fetch.folder import Folder
from flows.__main__ import main

GRAPH = """
stages:
  augment:
    foreach: ${views}
    do:
      cmd: "true"
      outs: ["outputs/views/${key}", "outputs/view_report/${key}"]
"""
VIEW = {"dataset": "mine", "image_size": 16, "channels": 3, "split": {"by": "image", "test": 0.25}}


def make(folder):
    """Fetch and augment in this process, and record the result."""
    out = folder / "outputs" / "datasets" / "mine"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    Folder.fetch(parse(Folder.Settings, {"source": "folder", "path": "pictures"}, "datasets.mine"), out, 0, folder)
    stage.run(Workspace(folder), "v")
    run("dvc", "commit", "-f", "-q", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "-qm", "version", cwd=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two commits of a view: one picture added, one removed, one relabelled, one edited."""
    folder = tmp_path_factory.mktemp("diff") / "project"
    (folder / "pictures").mkdir(parents=True)
    params = {"pipeline": {"runs": []}, "runs": {}, "root": ".", "seed": 0, "views": {"v": VIEW}}
    write_params(folder, params | {"datasets": {"mine": {"source": "folder", "path": "pictures"}}})
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / ".gitignore").write_text("outputs/\n")
    (folder / ".dvcignore").write_text("")
    run("git", "init", "--quiet", cwd=folder)
    for key, value in {"user.email": "a@b.c", "user.name": "a"}.items():
        run("git", "config", key, value, cwd=folder)
    run("dvc", "init", "--quiet", cwd=folder)
    run("dvc", "remote", "add", "-d", "shared", str(folder.parent / "remote"), cwd=folder)
    (folder.parent / "remote").mkdir()
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "-qm", "before any view", cwd=folder)
    rng = np.random.default_rng(0)
    for index in range(12):
        path = folder / "pictures" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    make(folder)
    pictures = folder / "pictures"
    (pictures / "a" / "0.png").unlink()
    (pictures / "a" / "2.png").rename(pictures / "b" / "2.png")
    for name in ("a/4.png", "b/new.png"):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(pictures / name)
    make(folder)
    return folder


def diff(project, capsys, *words):
    code = main(["diff", *words, "--project", str(project), "--out", str(project.parent / "out")])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def changes(project):
    lines = (project.parent / "out" / "changes.csv").read_text().splitlines()[1:]
    return {tuple(line.split(",")[:2]) for line in lines} - {("moved", line.split(",")[1]) for line in lines}


EXPECTED = {("added", "b/new.png"), ("changed", "a/4.png"), ("relabelled", "b/2.png"), ("renamed", "b/2.png")}


def test_two_commits_are_compared_with_thumbnails(project, capsys):
    code, lines, _ = diff(project, capsys, "v", "HEAD~1", "HEAD")
    assert code == 0
    assert lines[0].startswith("v, ")
    assert lines[0].endswith("12 -> 12 pictures")
    assert any("relabelled" in line and "b/2.png label: a -> b" in line for line in lines)
    assert {kind for kind in changes(project) if kind[0] != "removed"} == EXPECTED
    assert any("removed" in line and "a/0.png" in line for line in lines)
    assert Image.open(project.parent / "out" / "changes.png").width > 200
    here = diff(project, capsys, "v", "HEAD~1")[1]
    assert here[0].partition(" -> ")[2].startswith("this folder: 12 -> 12")
    assert here[1:] == lines[1:]


def test_no_difference_is_said_and_writes_nothing(project, capsys):
    shutil.rmtree(project.parent / "out", ignore_errors=True)
    assert diff(project, capsys, "v", "HEAD", "HEAD")[1][1:] == ["  no difference"]
    assert not (project.parent / "out").exists()


def test_what_is_missing_comes_from_the_remote_or_is_named(project, capsys):
    run("dvc", "push", "-q", "--all-commits", cwd=project)
    cache = project / ".dvc" / "cache"
    kept = cache.with_name("kept")
    shutil.move(cache, kept)
    try:
        code, lines, error = diff(project, capsys, "v", "HEAD~1", "HEAD")
        assert code == 0, error
        assert not any("missing" in line for line in lines)
        assert {kind for kind in changes(project) if kind[0] != "removed"} == EXPECTED

        shutil.rmtree(cache)
        for path in [path for path in (project.parent / "remote").rglob("*") if path.is_file()]:
            if path.read_bytes().startswith(b"\x93NUMPY"):
                path.unlink()
        code, lines, _ = diff(project, capsys, "v", "HEAD~1", "HEAD")
        assert code == 0
        assert any(line.startswith("  missing: pictures of ") for line in lines)

        shutil.rmtree(cache)
        shutil.rmtree(project.parent / "remote")
        code, _, error = diff(project, capsys, "v", "HEAD~1", "HEAD")
        assert code == 2
        assert "error: REV1: the names of 'v' at " in error
        assert "are missing" in error
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        shutil.move(kept, cache)
        (project.parent / "remote").mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("v", "nowhere"), "error: REV1: 'nowhere' is no commit of this repository"),
        (("v", "--output=x"), ""),
        (("v", "HEAD~2", "HEAD"), "has no view 'v' in its dvc.lock"),
        (("w", "HEAD"), "VIEW: unknown name 'w'"),
        (("w", "HEAD", "HEAD"), "has no view 'w' in its dvc.lock"),
    ],
)
def test_wrong_arguments_are_named(project, capsys, words, message):
    if not message:
        with pytest.raises(SystemExit):
            diff(project, capsys, *words)
        return
    code, _, error = diff(project, capsys, *words)
    assert code == 2
    assert message in error, error


def test_a_commit_from_before_names_were_kept_is_named(project, capsys):
    lock = project / "dvc.lock"
    text = lock.read_text()
    content = text.splitlines(keepends=True)
    start = next(index for index, line in enumerate(content) if "outputs/view_report/v" in line)
    end = next((index for index in range(start + 1, len(content)) if "- path" in content[index]), len(content))
    lock.write_text("".join(content[:start] + content[end:]))
    run("git", "commit", "-qam", "old", cwd=project)
    try:
        code, _, error = diff(project, capsys, "v", "HEAD")
        assert code == 2
        assert "is from before views kept names" in error
    finally:
        run("git", "reset", "-q", "--hard", "HEAD~1", cwd=project)
