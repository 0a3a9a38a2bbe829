"""What comes in may be broken or hostile: it is counted, named as text, and stops nothing."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from monitor.conftest import put
from PIL import Image

from components.registry.monitor import scan
from components.registry.monitor.__main__ import monitor
from components.registry.monitor.drift import Rule
from components.registry.monitor.incoming import base_of, incoming, shown
from components.registry.monitor.report import home

RULE = Rule(least=20, alarm=0.01, psi=0.1)


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""
    parts = [b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0), b"IDAT"]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_broken_and_hostile_files_are_named_and_stop_nothing(champion, tmp_path):
    folder = tmp_path / "in"
    put(folder / "deep" / "er", 20)
    good = (folder / "deep" / "er" / "0-0.png").read_bytes()
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "cut.png").write_bytes(good[:-30])
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").touch()
    (folder / "dangling.png").symlink_to("nothing")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "notes.txt").write_text("passed over")
    (folder / ".hidden.png").write_bytes(good)
    (folder / "round").symlink_to(folder)
    names = [b"=cmd().png", b"$(touch hacked).png", b"new\nline | `x`.png", b"\xff\xfe.png", "\u202egnp.exe.png".encode()]
    for index, name in enumerate(names):
        Image.fromarray(np.full((8, 8), 90 + index, np.uint8)).save(tmp_path / "some.png")
        os.rename(tmp_path / "some.png", os.path.join(os.fsencode(folder), name))
    found = monitor(champion(), folder, RULE)
    assert (found["scored"], found["broken"], found["missing"]) == (25, 7, 0)
    faults = dict(line.split(": ", 1) for line in found["broken_names"])
    assert sorted(faults) == [
        f"./{name}" for name in ["bomb.png", "cut.png", "dangling.png", "empty.png", "loop.png", "pipe.png", "text.jpg"]
    ]
    assert faults["./dangling.png"] == "a link that leads nowhere"
    assert faults["./pipe.png"] == "not a file: a folder, a pipe, a socket or a device"
    assert "exceeds limit" in faults["./bomb.png"]
    text = (home("small") / "reports" / "1" / "table.csv").read_text()
    assert len(text.splitlines()) == 26
    for name in (
        "./=cmd().png",
        "./$(touch hacked).png",
        "./new\\nline | `x`.png",
        "./\\udcff\\udcfe.png",
        "./\\u202egnp.exe.png",
    ):
        assert f"\n{name}," in text
    assert monitor(champion(), folder, RULE)["broken"] == 7  # still there; those that could be read are not decoded again


def test_a_list_names_files_relative_to_itself(champion, tmp_path):
    put(tmp_path / "in", 22)
    lines = [
        *sorted(f"in/{path.name}" for path in (tmp_path / "in").iterdir()),
        "",
        "gone.png",
        str(tmp_path / "in" / "0-1.png"),
    ]
    (tmp_path / "list.txt").write_text("\r\n".join(lines))
    found = monitor(champion(), tmp_path / "list.txt", RULE)
    assert (found["found"], found["scored"], found["seen"], found["missing"], found["broken"]) == (24, 22, 1, 1, 0)
    assert json.loads((home("small") / "reports" / "1" / "report.json").read_text())["strangest"][0].startswith("./in/")


@pytest.mark.parametrize("name", ["nothing", "picture.png"])
def test_a_place_that_is_neither_folder_nor_list_is_refused(name, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "picture.png")
    with pytest.raises(ValueError, match="neither a folder of images nor a text file"):
        list(incoming(tmp_path / name))


def test_a_file_that_vanishes_before_it_is_read_is_passed_over(champion, tmp_path, monkeypatch):
    put(tmp_path / "in", 3)
    real = scan.read

    def late(path: bytes) -> bytes:
        if path.endswith(b"0-1.png"):
            os.unlink(path)
        return real(path)

    monkeypatch.setattr(scan, "read", late)
    found = monitor(champion(), tmp_path / "in", RULE)
    assert (found["scored"], found["missing"], found["broken"]) == (2, 1, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_closed_files_and_folders_are_broken(champion, tmp_path):
    put(tmp_path / "in" / "closed", 1)
    put(tmp_path / "in", 2)
    (tmp_path / "in" / "0-1.png").chmod(0)
    (tmp_path / "in" / "closed").chmod(0)
    found = monitor(champion(), tmp_path / "in", RULE)
    (tmp_path / "in" / "closed").chmod(0o700)
    assert found["broken_names"] == [
        "./0-1.png: Permission denied",
        "./closed: not a file: a folder, a pipe, a socket or a device",
    ]


def test_names_are_shown_relative_to_their_folder_alone(tmp_path):
    assert shown(os.fsencode(tmp_path / "a" / "b.png"), base_of(tmp_path)) == "./a/b.png"
    assert shown(b"/elsewhere/b.png", base_of(tmp_path)) == "/elsewhere/b.png"
    assert Path(os.fsdecode(base_of(tmp_path))) == tmp_path


def test_batches_are_bounded(champion, tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "BUDGET", 64 * 4)
    put(tmp_path / "in", 10)
    one = champion()
    monitor(one, tmp_path / "in", RULE)
    assert one.served.calls == [4, 4, 2]
