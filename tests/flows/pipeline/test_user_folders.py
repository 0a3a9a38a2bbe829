"""What lies in a user's folder and would keep DVC waiting for ever is named before DVC opens it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from components.core.config.strict import SettingsError
from flows.pipeline.plan import make_plan
from flows.pipeline.preflight import check_user_folders


@pytest.fixture
def own(new: Any) -> Path:
    """The folder of the only dataset, with a file, a link to it, a hidden folder and a link to its parent."""
    folder: Path = new.folder / "pictures"
    (folder / "cat" / ".hidden").mkdir(parents=True)
    (folder / "cat" / "1.png").write_text("x")
    (folder / "cat" / "2.png").symlink_to("1.png")
    (folder / "cat" / "parent").symlink_to("..")
    new.change(lambda content: content["datasets"]["d"].update(path="pictures"))
    return folder


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def server(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))  # an address has at most 108 characters


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("gone.png")


@pytest.mark.parametrize("plant", [pipe, link_to_a_device, server, link_to_itself, link_to_nothing])
@pytest.mark.parametrize("place", ["cat/x.png", "cat/.hidden/x", "x"])
def test_it_is_named(new: Any, own: Path, plant: Any, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    check_user_folders(new.project().workspace, ["a"])
    plant(own / place)
    with pytest.raises(
        SettingsError, match=rf"datasets\.d\.path: '.*/pictures/{place}': (neither a file nor|a link that leads)"
    ):
        check_user_folders(new.project().workspace, ["a"])


def test_a_name_that_is_no_utf8_is_named(new: Any, own: Path) -> None:
    (own / "cat" / os.fsdecode(b"caf\xe9.png")).touch()
    (own / "cat" / "café.png").touch()
    with pytest.raises(SettingsError, match=r"cat/caf\\udce9\.png': the name is not UTF-8"):
        check_user_folders(new.project().workspace, ["a"])


def test_the_path_itself_may_be_a_pipe_or_missing(new: Any) -> None:
    new.change(lambda content: content["datasets"]["d"].update(path="gone"))
    check_user_folders(new.project().workspace, ["a"])  # DVC tells that it is missing
    os.mkfifo(new.folder / "gone")
    with pytest.raises(SettingsError, match=r"'.*/gone': neither a file nor a folder"):
        check_user_folders(new.project().workspace, ["a"])


def test_the_plan_looks_first(new: Any, own: Path) -> None:
    os.mkfifo(own / "pipe")
    with pytest.raises(SettingsError, match=r"datasets\.d\.path: .*pipe"):
        make_plan(new.project(), ("a",), False, lambda workspace, run: True)


def test_another_datasets_files_stop_nothing(new: Any, own: Path) -> None:
    new.change(lambda content: content["datasets"].update(other={"source": "fake", "path": "elsewhere"}))
    os.mkfifo(new.folder / "elsewhere")
    check_user_folders(new.project().workspace, ["a"])
