"""MNIST and its like: files checked and kept as published."""

import gzip
import hashlib
import json
import os
import struct

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse, resolve
from components.stages.fetch import SOURCES, idx

MIRROR = os.environ.get("DATA_MIRROR")
real = pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set")
NAMES = [name for files in idx.FILES.values() for name in files.values()]


def settings(source, **changes):
    return parse(resolve(SOURCES, source, "source").Settings, {"source": source, "path": "x"} | changes, "datasets.x")


def fetch(source, out, **changes):
    out.mkdir(exist_ok=True)
    resolve(SOURCES, source, "source").fetch(settings(source, **changes), out, 0, out)
    return json.loads((out / "dataset.json").read_text())


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of a tiny KMNIST, whose sums stand in the table."""
    folder = tmp_path / "mirror" / "kmnist"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(gzip.compress(bytes([number] * 9), mtime=0))
    sums = tuple(hashlib.md5((folder / name).read_bytes()).hexdigest() for name in NAMES)
    monkeypatch.setitem(idx.MD5, "kmnist", sums)
    monkeypatch.setitem(idx.ADDRESSES, "kmnist", ())
    monkeypatch.setenv("DATA_MIRROR", str(folder.parent))
    return folder


def test_files_come_as_published(tmp_path, mirror):
    index = fetch("kmnist", tmp_path / "out")
    assert index["layout"] == "idx"
    assert index["splits"] == idx.FILES
    assert index["classes"] == {"label": ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]}
    for name in NAMES:
        assert (tmp_path / "out" / name).read_bytes() == (mirror / name).read_bytes()


def test_one_split_brings_only_its_files(tmp_path, mirror):
    (mirror / NAMES[0]).unlink()
    index = fetch("kmnist", tmp_path / "out", splits=["test"])
    assert list(index["splits"]) == ["test"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", *sorted(NAMES[2:])]


def test_exchanged_file_is_refused(tmp_path, mirror):
    (mirror / NAMES[1]).write_bytes((mirror / NAMES[0]).read_bytes())
    with pytest.raises(ValueError, match=f"kmnist/{NAMES[1]} cannot be had: .*expected {idx.MD5['kmnist'][1]}"):
        fetch("kmnist", tmp_path / "out")


@pytest.mark.parametrize("splits", [[], ["train", "train"], ["validation"]])
def test_splits_that_cannot_be_used(splits):
    with pytest.raises(SettingsError, match="splits"):
        settings("mnist", splits=splits)


def test_tables_agree():
    assert set(idx.MD5) == set(idx.ADDRESSES) == set(idx.CLASSES)
    assert all(len(set(names)) == 10 for names in idx.CLASSES.values())
    assert len({md5 for sums in idx.MD5.values() for md5 in sums}) == 16
    assert all(url.startswith(("http://", "https://")) and url.endswith("/") for urls in idx.ADDRESSES.values() for url in urls)


@real
@pytest.mark.parametrize(("source", "splits", "count"), [("mnist", ["test", "train"], 60_000), ("notmnist", ["test"], 10_000)])
def test_real_files(tmp_path, monkeypatch, source, splits, count):
    monkeypatch.setenv("DATA_MIRROR", MIRROR)
    index = fetch(source, tmp_path / "out", splits=splits)
    files = index["splits"][splits[-1]]
    images, labels = (gzip.decompress((tmp_path / "out" / files[column]).read_bytes()) for column in ("image", "label"))
    assert struct.unpack(">4I", images[:16]) == (2051, count, 28, 28)
    assert len(images) == 16 + count * 28 * 28
    assert np.bincount(np.frombuffer(labels[8:], np.uint8), minlength=10).min() >= count * 0.09
