"""dvc.lock merged stage by stage: by the function, and by Git itself in a repository of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml

from components.core.config.strict import SettingsError
from components.core.dvc_lock import find_entries
from flows.dvc import merge_driver
from flows.dvc.entries import readable
from flows.dvc.lock_merge import EMPTY, HEAD, conflicts, merge
from flows.pipeline.plan import make_plan
from flows.upkeep.doctor import CHECKS, examine, repair

ROOT = Path(__file__).resolve().parents[3]
IDENTITY = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")


def entry(name: str, value: object = 1) -> str:
    """An entry as DVC writes it."""
    return f"  {name}:\n    cmd: run {name}\n    outs:\n    - path: outputs/{name}\n      hash: md5\n      md5: '{value}'\n"


def lock(**values: object) -> str:
    """A dvc.lock; stage -> what differs in its entry."""
    return HEAD + "".join(entry(name, value) for name, value in values.items())


def both(left: str, right: str, marker: int = 7) -> str:
    """The two versions of one entry in conflict."""
    return f"{'<' * marker} ours\n{left}{'=' * marker}\n{right}{'>' * marker} theirs\n"


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        (lock(a=1, b=1, c=1), lock(a=2, b=1, c=1), lock(a=1, b=1, c=2), lock(a=2, b=1, c=2)),  # disjoint
        (lock(a=1, b=1), lock(a=2, b=1), lock(a=2, b=1), lock(a=2, b=1)),  # the same
        (lock(a=1, c=1), lock(a=1, b=1, c=1), lock(a=1, c=1, d=1), lock(a=1, b=1, c=1, d=1)),  # added on both sides
        (lock(a=1, c=1), lock(a=1, c=2), lock(x=1, a=1, b=1, c=1), lock(x=1, a=1, b=1, c=2)),  # in the other's place
        (lock(a=1, b=1, c=1), lock(b=1, c=1), lock(a=1, b=1), lock(b=1)),  # removed on both sides
        (lock(a=1, b=1), lock(a=2, b=1), lock(a=1), lock(a=2)),
        (lock(a=1), lock(), lock(a=1), EMPTY),
        ("", lock(a=1, b=1), lock(b=1, c=1), lock(a=1, b=1, c=1)),  # no common ancestor
    ],
)
def test_what_only_one_side_changed_is_taken_from_it(base: str, ours: str, theirs: str, merged: str) -> None:
    assert merge(base, ours, theirs) == (merged, [])
    assert parse_yaml(merged, "dvc.lock")["schema"] == "2.0"
    there_and_back = merge(base, theirs, ours)
    assert there_and_back is not None
    assert sorted(there_and_back[0].splitlines()) == sorted(merged.splitlines())


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "between"),
    [
        (lock(a=1, b=1, c=1), lock(a=2, b=2, c=1), lock(a=1, b=3, c=3), both(entry("b", 2), entry("b", 3))),
        (lock(a=1, b=1, c=1), lock(a=2, c=1), lock(a=1, b=3, c=3), both("", entry("b", 3))),  # removed and changed
        (lock(a=1, b=1, c=1), lock(a=2, b=2, c=1), lock(a=1, c=3), both(entry("b", 2), "")),
        (lock(a=1, c=1), lock(a=2, b=2, c=1), lock(a=1, b=3, c=3), both(entry("b", 2), entry("b", 3))),  # added
    ],
)
def test_only_the_stage_that_both_changed_is_in_conflict(base: str, ours: str, theirs: str, between: str) -> None:
    result = merge(base, ours, theirs)
    assert result is not None
    text, stages = result
    assert stages == ["b"] == conflicts(text)
    pieces = {HEAD, entry("a", 2), between, entry("c", 3)}
    assert text.startswith(HEAD)
    assert sum(map(len, pieces)) == len(text)
    assert all(piece in text for piece in pieces)


def test_the_stage_code_is_never_in_conflict() -> None:
    assert merge(lock(code=1, a=1, b=1), lock(code=2, a=2, b=1), lock(code=3, a=1, b=3)) == (lock(code=2, a=2, b=3), [])
    assert merge(lock(code=1, a=1), lock(a=1), lock(code=3, a=1)) == (lock(code=3, a=1), [])


def test_a_merge_of_ancestors_that_is_itself_in_conflict_is_a_base_without_that_stage() -> None:
    base = HEAD + entry("a") + both(entry("b", 1), entry("b", 2), marker=9) + entry("c")
    assert merge(base, lock(a=1, b=3, c=2), lock(a=2, b=3, c=1)) == (lock(a=2, b=3, c=2), [])
    result = merge(base, lock(a=1, b=3, c=1), lock(a=1, b=4, c=1))
    assert result is not None
    assert result[1] == ["b"]


def test_line_ends_are_those_of_ours() -> None:
    def crlf(text: str) -> str:
        return text.replace("\n", "\r\n")

    base, ours, theirs, merged = lock(a=1, b=1), lock(a=2, b=1), lock(a=1, b=2), lock(a=2, b=2)
    assert merge(crlf(base), crlf(ours), crlf(theirs)) == (crlf(merged), [])
    assert merge(base, crlf(ours), theirs) == (crlf(merged), [])
    assert merge(base, ours, crlf(theirs)) == (merged, [])


@pytest.mark.parametrize(
    "other", ["# a comment\n" + lock(a=1), lock(a=1) + "datasets: []\n", lock(a=1) + entry("a", 2), "text"]
)
def test_what_dvc_did_not_write_is_not_merged_by_stages(other: str) -> None:
    assert merge(lock(a=1), lock(a=2), other) is None
    assert merge(lock(a=1), other, lock(a=2)) is None
    assert merge(other, lock(a=1), lock(a=2)) is None


def test_conflicts_that_another_tool_left_are_named_too() -> None:
    text = lock(a=1, b=1).replace(
        "      md5: '1'\n  b", "<<<<<<< HEAD\n      md5: '1'\n=======\n      md5: '2'\n>>>>>>> x\n  b"
    )
    assert conflicts(text) == ["a"]
    assert conflicts(lock(a=1)) == []


@pytest.mark.parametrize("left", ["=======\n", ">>>>>>> theirs\n", "||||||| base\n", "<<<<<<< HEAD\n"])
def test_a_marker_that_was_left_behind_is_a_conflict(left: str) -> None:
    """The entry before it is cut, and DVC would accept what stands of it."""
    text = lock(a=1, b=1).replace("      md5: '1'\n  b", f"{left}      md5: '1'\n  b")
    assert conflicts(text)[0] == "a"


def test_of_a_stage_with_both_versions_none_is_kept() -> None:
    first, second = list(find_entries((ROOT / "dvc.lock").read_text()).items())[:2]
    assert list(readable(HEAD + first[1] + second[1])) == [first[0], second[0]]
    assert list(readable(HEAD + first[1] + second[1] + first[1].replace("size: ", "size: 1"))) == [second[0]]


class Repository:
    """A Git repository that holds a project in ``prefix``."""

    def __init__(self, top: Path, prefix: str = ""):
        self.top, self.project = top, top / prefix
        self.project.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.copy_code(self.project)
        merge_driver.install(self.project)

    @staticmethod
    def copy_code(folder: Path) -> None:
        for name in (
            "components/__init__.py",
            "components/core/__init__.py",
            "components/core/dvc_lock.py",
            "flows/dvc/lock_merge.py",
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)

    def git(self, *words: str, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = ["git", *IDENTITY, *words]
        done = subprocess.run(command, cwd=cwd or self.top, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def commit(self, text: str, where: str = "dvc.lock") -> None:
        (self.project / where).parent.mkdir(parents=True, exist_ok=True)
        (self.project / where).write_bytes(text.encode())
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "lock")

    def branches(self, base: str, ours: str, theirs: str, where: str = "dvc.lock") -> None:
        """Branches main and other from one ancestor; main is checked out."""
        self.commit(base, where)
        self.git("switch", "--quiet", "--create", "other")
        self.commit(theirs, where)
        self.git("switch", "--quiet", "main")
        self.commit(ours, where)

    def lock(self, where: str = "dvc.lock") -> str:
        return (self.project / where).read_bytes().decode()


NEIGHBOURS = (lock(a=1, b=1, c=1), lock(a=2, b=1, c=1), lock(a=1, b=2, c=1))  # a conflict for a merge by lines
SAME = (lock(a=1, b=1, c=1), lock(a=2, b=2, c=1), lock(a=1, b=3, c=1))


@pytest.mark.parametrize(
    ("prefix", "where"), [("", "dvc.lock"), ("", "experiments/s/dvc.lock"), ("a folder's 100%/x", "dvc.lock")]
)
def test_git_merges_disjoint_changes(tmp_path: Path, prefix: str, where: str) -> None:
    repository = Repository(tmp_path / "top", prefix)
    repository.branches(*NEIGHBOURS, where)
    repository.git("merge", "--no-edit", "other")
    assert repository.lock(where) == lock(a=2, b=2, c=1)


def test_git_merges_line_by_line_without_the_driver(tmp_path: Path) -> None:
    """Else these tests would show nothing."""
    repository = Repository(tmp_path / "top")
    repository.git("config", "--remove-section", f"merge.{merge_driver.NAME}")
    base, ours, theirs = (text.replace("    cmd", "    md5") for text in (lock(a=1), lock(a=1, b=1), lock(a=1, c=1)))
    repository.branches(base, ours, theirs)
    assert repository.git("merge", "--no-edit", "other", check=False).returncode == 1


def test_git_stops_at_a_stage_that_both_sides_changed(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "top")
    repository.branches(*SAME)
    done = repository.git("merge", "--no-edit", "other", check=False)
    assert done.returncode == 1
    assert "dvc.lock: both sides changed b" in done.stderr
    assert repository.lock() == HEAD + entry("a", 2) + both(entry("b", 2), entry("b", 3)) + entry("c")
    assert "UU dvc.lock" in repository.git("status", "--short").stdout


def test_git_rebases_and_picks(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "top")
    repository.branches(*NEIGHBOURS)
    repository.git("rebase", "main", "other")
    assert repository.lock() == lock(a=2, b=2, c=1)
    repository.git("switch", "--quiet", "--detach", "main")
    repository.git("cherry-pick", "other")
    assert repository.lock() == lock(a=2, b=2, c=1)


def test_a_rebase_stops_at_a_conflict_and_goes_on(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "top")
    repository.branches(*SAME)
    assert repository.git("rebase", "main", "other", check=False).returncode == 1
    assert conflicts(repository.lock()) == ["b"]
    (repository.project / "dvc.lock").write_text(lock(a=2, b=3, c=1))
    repository.git("add", "dvc.lock")
    repository.git("-c", "core.editor=true", "rebase", "--continue")
    assert repository.lock() == lock(a=2, b=3, c=1)


def test_a_worktree_of_the_same_repository_has_the_driver(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "top")
    repository.branches(*NEIGHBOURS)
    repository.git("worktree", "add", "--quiet", str(tmp_path / "second"), "other")
    assert merge_driver.installed(tmp_path / "second")
    repository.git("merge", "--no-edit", "main", cwd=tmp_path / "second")
    assert (tmp_path / "second/dvc.lock").read_text() == lock(a=2, b=2, c=1)


@pytest.mark.parametrize("fault", ["no program", "a program that does not start", "another form"])
def test_git_merges_the_text_where_stages_cannot_be_told(tmp_path: Path, fault: str) -> None:
    far = [lock(a=1) + "".join(entry(f"between{number}") for number in range(3)) + entry("z", value) for value in (1, 1, 2)]
    base, ours, theirs = far[0], far[0].replace("'1'", "'2'", 1), far[2]
    if fault == "another form":
        base, ours, theirs = ("# mine\n" + text for text in (base, ours, theirs))
    repository = Repository(tmp_path / "top")
    if fault == "no program":
        (repository.project / "flows/dvc/lock_merge.py").unlink()
    if fault == "a program that does not start":
        (repository.project / "flows/dvc/lock_merge.py").write_text("import nothing_of_this_name\n")
    repository.branches(base, ours, theirs)
    repository.git("merge", "--no-edit", "other")
    assert repository.lock() == theirs.replace("'1'", "'2'", 1)
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.git("switch", "--quiet", "--create", "third", "other~1")
    repository.commit(base.replace("'1'", "'3'", 1))
    assert repository.git("merge", "--no-edit", "main", check=False).returncode == 1
    assert "<<<<<<< ours" in repository.lock()


def test_installing_twice_changes_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "top")
    files = [repository.top / ".git/config", repository.top / ".gitattributes"]
    before = [file.read_bytes() for file in files]
    assert merge_driver.installed(repository.project)
    merge_driver.install(repository.project)
    assert [file.read_bytes() for file in files] == before


def test_attributes_of_the_users_own_stay(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "top")
    path = repository.top / ".gitattributes"
    path.write_text("*.png binary")
    assert not merge_driver.installed(repository.project)
    merge_driver.install(repository.project)
    assert path.read_text() == f"*.png binary\n{merge_driver.ATTRIBUTE}\n"
    path.write_text("dvc.lock merge=union\n")
    merge_driver.install(repository.project)
    assert path.read_text() == "dvc.lock merge=union\n"
    assert merge_driver.installed(repository.project)


def test_without_git_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/nowhere", None):
        if path:
            monkeypatch.setenv("PATH", path)
        else:
            monkeypatch.undo()
            monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        merge_driver.install(tmp_path)
        assert merge_driver.installed(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_flows_call_a_conflict_a_conflict(done: Any) -> None:
    path = done.folder / "dvc.lock"
    text = path.read_text()
    start, end = text.index("  train@a:\n"), text.index("  export@a:\n")
    path.write_text(text[:start] + both(text[start:end], "") + text[end:])
    with pytest.raises(SettingsError) as caught:
        make_plan(done.project(), ("a",), False, lambda workspace, run: True)
    assert str(caught.value).startswith(f"{path}: merge conflict in train@a; keep one version of each")
    (finding,) = examine(done.project(), {"lock file": CHECKS["lock file"]})
    assert (finding.what, finding.where) == ("merge conflict in dvc.lock", f"{path}: train@a")
    assert repair(finding) is not None
    path.write_text(text[:end].replace("    outs:", "=======\n    outs:") + text[end:])  # of the markers one is left
    before = path.read_bytes()
    for finding in examine(done.project()):
        repair(finding)
    assert path.read_bytes() == before
    path.write_text(text[:start] + text[end:])  # both versions removed
    assert "is cached - skipping run" in done.dvc("repro", "train@a")


def test_the_doctor_installs_the_driver(done: Any) -> None:
    checks = {"merge driver": CHECKS["merge driver"]}
    assert examine(done.project(), checks) == []
    subprocess.run(["git", "config", "--unset", merge_driver.KEY], cwd=done.folder, check=True)
    (finding,) = examine(done.project(), checks)
    left = done.folder / ".git/config.lock"
    left.touch()
    assert "config.lock" in (repair(finding) or "")
    left.unlink()
    assert repair(finding) is None
    assert examine(done.project(), checks) == []
