"""Files of the repository that Git, make and the shell read."""

import subprocess
from pathlib import Path

import pytest
from workbench import ROOT


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with this one's rules alone."""
    for name in (".gitattributes", ".gitignore"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    run("git", "init", "--quiet", cwd=tmp_path)
    return tmp_path


def test_line_ends_stay_as_they_are_committed(clone: Path) -> None:
    """Of a Git that converts them, as on Windows: hashes of params.yaml and of data would differ."""
    run("git", "config", "core.autocrlf", "true", cwd=clone)
    (clone / "params.yaml").write_bytes(b"a: 1\n")
    run("git", "add", ".", cwd=clone)
    (clone / "params.yaml").unlink()
    run("git", "checkout", "--", "params.yaml", cwd=clone)
    assert (clone / "params.yaml").read_bytes() == b"a: 1\n"
    assert run("git", "check-attr", "merge", "experiments/x/dvc.lock", cwd=clone).endswith("merge: dvclock\n")


@pytest.mark.parametrize("name", [".venv", ".work", "outputs", "experiments/x/outputs"])
def test_links_to_another_disk_are_ignored_too(name: str, clone: Path) -> None:
    (clone / "experiments/x").mkdir(parents=True)
    (clone / name).symlink_to("/")
    assert name not in run("git", "status", "--short", "--untracked-files=all", cwd=clone)


def test_make_passes_every_option_of_promote() -> None:
    given = ["RUN=a", "COMMENT=why", "BY=ada", "STUDY=s", "NO_COMPARE=1"]
    shown = run("make", "--dry-run", "--old-file=.venv/installed", "promote", *given, cwd=ROOT)
    assert '-m flows promote --study "$STUDY" --by "$BY" --comment "$COMMENT" --no-compare -- "$RUN"' in shown
    without = run("make", "--dry-run", "--old-file=.venv/installed", "promote", "RUN=a", "NO_COMPARE=0", cwd=ROOT)
    assert "--no-compare" not in without
