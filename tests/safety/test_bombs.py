"""Pictures and names that are made to harm: refused, named, and without the memory that they ask for."""

from __future__ import annotations

import io
import os
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.core.config.strict import parse
from components.stages.augment.decode import decode_file
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.raw.layouts import read_dataset
from components.stages.augment.table import decode_all
from components.stages.fetch.files import suffixes
from components.stages.fetch.folder import Folder

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ViewSettings(dataset="d", image_size=16, channels=3)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG of a few bytes that claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 10}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


def gif(frames: int) -> bytes:
    file = io.BytesIO()
    pictures = [Image.new("P", (64, 64), index % 2) for index in range(frames)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    return file.getvalue()


BMP = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 65535, 65535, 1, 24, 0, 0, 0, 0, 0, 0)
BOMBS = {
    "wide and high.png": (png(60_000, 60_000), "decompression bomb"),
    "more than any memory.png": (png(2**31 - 1, 2**31 - 1), "decompression bomb"),
    "a line of rows.png": (png(1, 80_000_000), "1 x 80000000 pixels: a side may have at most 65535"),
    "a long row.png": (png(80_000_000, 1), "80000000 x 1 pixels: a side may have at most 65535"),
    "text.png": (png(16, 16, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000)))), "too large"),
    "absurd.tif": (tiff(2**32 - 1, 2**31), "decompression bomb"),
    "absurd.bmp": (BMP, "decompression bomb"),
    "absurd.ppm": (b"P6 100000 100000 255\n", "decompression bomb"),
    "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n", "cannot identify"),
}


@pytest.fixture
def little_memory() -> Any:
    """No more than 300 MB beyond what the process has by now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_needs_no_memory(name: str) -> None:
    data, words = BOMBS[name]
    with pytest.raises(ValueError, match=words):
        decode_file(data, SETTINGS)


@pytest.mark.usefixtures("little_memory")
def test_of_a_film_one_frame_is_unpacked() -> None:
    assert decode_file(gif(500), SETTINGS).shape == (16, 16, 3)


def test_postscript_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/it ran'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ValueError, match="cannot identify"):
        decode_file(BOMBS["postscript.png"][0], SETTINGS)
    assert not (tmp_path / "it ran").exists()


def fetch(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    Folder.fetch(parse(Folder.Settings, {"source": "folder", "path": "pictures"}, "datasets.x"), out, 0, tmp_path)
    return out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two classes of one good picture each."""
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), len(name), np.uint8)).save(tmp_path / "pictures" / name / "good.png")
    return tmp_path / "pictures"


def test_a_bomb_in_a_users_folder_is_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "cat" / "-bomb $(x).png").write_bytes(BOMBS["wide and high.png"][0])
    raw, _ = read_dataset(fetch(tmp_path))
    with pytest.raises(ValueError, match=r"unreadable images .*: cat/-bomb \$\(x\)\.png \(.*decompression bomb"):
        decode_all(raw, SETTINGS, tmp_path / "scratch.npy")


def test_a_file_that_is_too_large_is_named_unread(pictures: Path, tmp_path: Path) -> None:
    with (pictures / "cat" / "hollow.tif").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"cat/hollow\.tif: 1,099,511,627,776 bytes; an image file may have at most"):
        fetch(tmp_path)
    assert suffixes.MAX_BYTES < 2**30


@pytest.mark.parametrize(
    "name", ["tab\tin.png", "escape\x1b[2J.png", "right\u202eto left.png", "line\u2028.png", "no\u200bwidth.png"]
)
def test_names_that_look_otherwise_than_they_are(pictures: Path, tmp_path: Path, name: str) -> None:
    (pictures / "cat" / "good.png").rename(pictures / "cat" / name)
    with pytest.raises(ValueError, match="another control character") as caught:
        fetch(tmp_path)
    assert str(caught.value).isascii()  # nothing reaches the terminal as it is
    assert str(caught.value).isprintable()


def test_two_classes_that_look_the_same_are_refused(pictures: Path, tmp_path: Path) -> None:
    (pictures / "cat").rename(pictures / "caf\u00e9")
    (pictures / "dog").rename(pictures / "cafe\u0301")
    with pytest.raises(ValueError, match="look the same"):
        fetch(tmp_path)


def test_names_that_mean_something_elsewhere_are_just_names(pictures: Path, tmp_path: Path) -> None:
    strange = ["-rf", "a;b|c&d", "$(touch x)", "=1+1", "'quote\"", "n" * 255, "کتاب\u200cها"]
    for name in strange:
        (pictures / name).mkdir()
        (pictures / name / "-x `id`.png").write_bytes((pictures / "cat" / "good.png").read_bytes())
    raw, classes = read_dataset(fetch(tmp_path))
    assert set(classes["label"]) == {"cat", "dog", *strange}
    assert len(decode_all(raw, SETTINGS, tmp_path / "scratch.npy").images) == 2 + len(strange)
