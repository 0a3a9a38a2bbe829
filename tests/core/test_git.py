"""Whose commit is recorded: only that of the repository that tracks the project."""

import os
import subprocess
from pathlib import Path

import pytest

from components.core.git import GitFailed, git, tracks
from components.registry.record.outs import commit_tags


def repository(folder: Path, *files: str) -> str:
    """Make a repository with one commit of ``files``; return the commit."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("a: 1\n")
    git(folder, "add", "--", *files)
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "first")
    return git(folder, "rev-parse", "HEAD").strip()


def test_a_repository_counts_in_its_root_in_a_subfolder_and_in_a_worktree(tmp_path):
    commit = repository(tmp_path / "mono", "params.yaml", "team/params.yaml")
    for folder in (tmp_path / "mono", tmp_path / "mono" / "team"):
        assert commit_tags(folder) == {"mlflow.source.git.commit": commit, "darkroom.git_dirty": "false"}
    git(tmp_path / "mono", "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    (tmp_path / "tree" / "params.yaml").write_text("a: 2\n")
    assert commit_tags(tmp_path / "tree") == {"mlflow.source.git.commit": commit, "darkroom.git_dirty": "true"}


def test_a_project_unpacked_inside_another_repository_has_no_commit(tmp_path):
    repository(tmp_path / "other", "readme")
    project = tmp_path / "other" / "unpacked"
    project.mkdir()
    (project / "params.yaml").write_text("a: 1\n")
    assert not tracks(project, "params.yaml")
    assert commit_tags(project) == {}
    assert commit_tags(tmp_path) == {}


def test_an_inherited_git_dir_is_not_asked(tmp_path, monkeypatch):
    commit = repository(tmp_path / "project", "params.yaml")
    repository(tmp_path / "other", "params.yaml", "more")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert commit_tags(tmp_path / "project") == {"mlflow.source.git.commit": commit, "darkroom.git_dirty": "false"}


@pytest.mark.skipif(os.getuid() != 0, reason="needs a folder of another user")
def test_a_repository_of_another_user_is_one_line_with_the_remedy(tmp_path, monkeypatch, capsys):
    repository(tmp_path / "project", "params.yaml")
    os.chown(tmp_path / "project", 12345, 12345)
    os.chown(tmp_path / "project" / ".git", 12345, 12345)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    with pytest.raises(GitFailed, match=r"git config --global --add safe\.directory"):
        tracks(tmp_path / "project", "params.yaml")
    assert commit_tags(tmp_path / "project") == {}
    assert capsys.readouterr().err.count("\n") == 1
