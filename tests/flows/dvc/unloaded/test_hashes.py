"""Hashes of files and folders as DVC's; which names it ignores, where its objects lie, and what is left to it."""

import hashlib
import json
import os

import pytest

from components.core.inputs.declared import Unusual
from flows.dvc.unloaded import hashes
from flows.dvc.unloaded.hashes import Hashes


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nowhere"))
    (tmp_path / "r" / ".dvc").mkdir(parents=True)
    return tmp_path / "r"


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def keep(root, value, text="", mode=0o444, folder=".dvc/cache"):
    """An object of the cache."""
    write(root / folder / "files" / "md5" / value[:2] / value[2:], text).chmod(mode)


def test_a_folder_is_hashed_by_its_sorted_names_without_those_that_are_ignored(root):
    write(root / ".dvcignore", "# a comment\n\n  out.log \nskipped\n")
    for name in ("b/deep", "a", ".git/x", "skipped/x", "b/out.log"):
        write(root / "data" / name)
    (root / "data" / "link").symlink_to(root / "data" / "b")
    (root / "data" / "to_file").symlink_to(root / "data" / "a")
    tree = [{"md5": md5(b"x"), "relpath": name} for name in ("a", "b/deep", "to_file")]
    found = Hashes(root, None)
    assert found.of(str(root / "data")) == md5(json.dumps(tree).encode()) + ".dir"
    assert found.of(str(root / "data" / "a")) == md5(b"x")
    assert found.of(str(root / "nothing")) is None
    write(root / "data" / "a", "other")
    assert found.of(str(root / "data" / "a")) == md5(b"x"), "each path once"


def test_a_folder_elsewhere_has_no_ignored_names(root, tmp_path):
    write(root / ".dvcignore", "skipped\n")
    write(tmp_path / "else" / "skipped")
    tree = [{"md5": md5(b"x"), "relpath": "skipped"}]
    assert Hashes(root, None).of(str(tmp_path / "else")) == md5(json.dumps(tree).encode()) + ".dir"


@pytest.mark.parametrize("name", ["data/.dvcignore", "data/b/.dvcignore", "data/x/.dvc/config", "skipped/data/a"])
def test_rules_of_other_folders_are_left_to_dvc(root, name):
    write(root / ".dvcignore", "skipped\n")
    write(root / "data" / "b" / "a")
    write(root / name)
    with pytest.raises(Unusual):
        Hashes(root, None).of(str(root / ("skipped/data" if name.startswith("skipped") else "data")))


def test_rules_above_a_file_are_left_to_dvc(root):
    file = write(root / "data" / "b" / "c" / "a")
    assert Hashes(root, None).of(str(file)) == md5(b"x")
    (root / "data" / ".dvcignore").touch()
    with pytest.raises(Unusual):
        Hashes(root, None).of(str(file))


def test_more_bytes_than_are_quickly_read_are_left_to_dvc(root, monkeypatch):
    monkeypatch.setattr(hashes, "READ_AT_MOST", 8)
    for name in "abc":
        os.utime(write(root / name, "1234"), (1, 1))  # what was just written is read to see whether it changes
    found = Hashes(root, None)
    assert found.of(str(root / "a")) == found.of(str(root / "b")) == md5(b"1234")
    with pytest.raises(Unusual, match="many files"):
        found.of(str(root / "c"))


def test_an_object_is_cached_if_it_is_protected_and_a_folder_if_all_of_it_is(root):
    one, two, folder, broken = "11aa", "22bb", "33cc.dir", "44dd.dir"
    keep(root, one)
    keep(root, folder, json.dumps([{"md5": one, "relpath": "a"}, {"md5": two, "relpath": "b"}]))
    keep(root, broken, "[{}]")
    found = Hashes(root, None)
    assert [found.cached(value) for value in (one, two, folder, broken, "55ee.dir")] == [True, False, False, False, False]
    keep(root, two)
    assert found.cached(folder)
    keep(root, "66ff", mode=0o644)
    with pytest.raises(Unusual, match="hashes again"):
        found.cached("66ff")


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("[cache]\n    dir = ../store\n    type = symlink\n['remote \"r\"']\n    url = x\n", "store"),
        ("[core]\n    remote = r\n    analytics = false\n", ".dvc/cache"),
    ],
)
def test_the_cache_lies_where_the_configuration_says(root, config, folder):
    for name in ("config", "config.local"):
        write(root / ".dvc" / name, config)
        keep(root, "11aa", folder=folder)
        assert Hashes(root, None).cached("11aa")
        (root / ".dvc" / name).unlink()


@pytest.mark.parametrize("config", ["[core]\n    no_scm = true\n", "[cache]\n    shared = group\n", "[db]\n    x = 1\n", "x"])
@pytest.mark.parametrize("name", ["config", "config.local"])
def test_other_settings_are_left_to_dvc(root, config, name):
    write(root / ".dvc" / name, config)
    with pytest.raises(Unusual):
        Hashes(root, None)


def test_settings_of_the_user_and_patterns_are_left_to_dvc(root, tmp_path):
    write(root / ".dvcignore", "*.txt\n")
    with pytest.raises(Unusual):
        Hashes(root, None)
    (root / ".dvcignore").unlink()
    Hashes(root, None)
    write(tmp_path / "nowhere" / "dvc" / "config")
    with pytest.raises(Unusual, match="outside"):
        Hashes(root, None)
