"""CIFAR-10: single batches from a mirror, else the archive."""

import hashlib
import json
import os
import tarfile

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.stages.fetch import cifar10
from components.stages.fetch.cifar10 import FOLDER, Cifar10
from components.stages.fetch.downloads.published import Published

MIRROR = os.environ.get("DATA_MIRROR")
real = pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set")


def settings(**changes):
    block = {"source": "cifar10", "path": "x", "train": [1, 2], "validation": [5], "test": True}
    return parse(Cifar10.Settings, block | changes, "datasets.x")


def fetch(out, **changes):
    out.mkdir(exist_ok=True)
    Cifar10.fetch(settings(**changes), out, 0, out)
    return json.loads((out / "dataset.json").read_text())


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """Six tiny batches in a folder, with their sums in the table; the archive is not yet made."""
    folder = tmp_path / "mirror" / FOLDER
    folder.mkdir(parents=True)
    for number, name in enumerate(cifar10.MD5):
        (folder / name).write_bytes(bytes([number]) * 3073)
    monkeypatch.setattr(cifar10, "MD5", {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in cifar10.MD5})
    monkeypatch.setattr(cifar10, "ARCHIVE", Published(FOLDER, "cifar-10-binary.tar.gz", "0" * 32))
    monkeypatch.setenv("DATA_MIRROR", str(folder.parent))
    return folder


def make_archive(batches, monkeypatch):
    path = batches / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(batches, FOLDER, filter=lambda entry: None if entry.name.endswith(".gz") else entry)
    monkeypatch.setattr(cifar10, "ARCHIVE", Published(FOLDER, path.name, hashlib.md5(path.read_bytes()).hexdigest()))


def names(out):
    return sorted(path.name for path in out.iterdir())


def test_training_batches_as_test_images_and_the_first_images_of_the_others(tmp_path, batches, monkeypatch):
    for number in range(1, 6):
        (batches / f"data_batch_{number}.bin").write_bytes(bytes([number]) * 3073 * 4)
    monkeypatch.setattr(cifar10, "IMAGES", 4)
    monkeypatch.setattr(cifar10, "MD5", {n: hashlib.md5((batches / n).read_bytes()).hexdigest() for n in cifar10.MD5})
    index = fetch(tmp_path / "out", train=[1, 2, 3], validation=[], test=[5], train_images=6)
    assert index["splits"] == {
        "train": {"batches": ["data_batch_1.bin", "data_batch_2.bin"]},
        "test": {"batches": ["data_batch_5.bin"]},
    }
    lengths = {path.name: path.stat().st_size // 3073 for path in (tmp_path / "out").glob("*.bin")}
    assert lengths == {"data_batch_1.bin": 4, "data_batch_2.bin": 2, "data_batch_5.bin": 4}


def test_more_images_than_the_batches_hold_are_refused():
    with pytest.raises(SettingsError, match=r"train_images.*10001.*10000 images"):
        settings(train=[1], validation=[], train_images=10001)


def test_batches_from_a_mirror(tmp_path, batches):
    index = fetch(tmp_path / "out")
    assert index["layout"] == "cifar10"
    assert index["splits"] == {
        "train": {"batches": ["data_batch_1.bin", "data_batch_2.bin"]},
        "validation": {"batches": ["data_batch_5.bin"]},
        "test": {"batches": ["test_batch.bin"]},
    }
    assert index["classes"]["label"][0] == "airplane"
    assert index["classes"]["label"][9] == "truck"
    assert (tmp_path / "out/data_batch_2.bin").read_bytes() == bytes([1]) * 3073


def test_empty_splits_are_left_out(tmp_path, batches):
    assert list(fetch(tmp_path / "out", validation=[], test=False)["splits"]) == ["train"]
    assert names(tmp_path / "out") == ["data_batch_1.bin", "data_batch_2.bin", "dataset.json"]


def test_missing_batches_come_from_the_archive_and_nothing_else_stays(tmp_path, batches, monkeypatch):
    make_archive(batches, monkeypatch)
    (batches / "data_batch_2.bin").unlink()
    (batches / "test_batch.bin").unlink()
    fetch(tmp_path / "out")
    assert names(tmp_path / "out") == [
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_5.bin",
        "dataset.json",
        "test_batch.bin",
    ]
    assert (tmp_path / "out/test_batch.bin").read_bytes() == bytes([5]) * 3073


def test_without_the_archive_the_error_names_batch_address_and_mirror(tmp_path, batches):
    (batches / "test_batch.bin").unlink()
    with pytest.raises(
        ValueError, match=r"test_batch\.bin: not in a mirror; .*cifar-10-binary\.tar\.gz cannot be had.*DATA_MIRROR"
    ):
        fetch(tmp_path / "out")


def test_wrong_batch_in_mirror_and_archive_is_refused(tmp_path, batches, monkeypatch):
    (batches / "data_batch_1.bin").write_bytes(b"exchanged")
    with pytest.raises(ValueError, match=r"data_batch_1\.bin is [0-9a-f]{32}, expected"):
        fetch(tmp_path / "one")
    make_archive(batches, monkeypatch)
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz: data_batch_1\.bin has the sum"):
        fetch(tmp_path / "two")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": [1, 5]}, "name a batch twice"),
        ({"train": [6]}, "train.0: 6"),
        ({"train": [], "validation": [], "test": False}, "nothing is left"),
        ({"test": [1]}, "test"),
    ],
)
def test_settings_that_cannot_be_used(change, message):
    with pytest.raises(SettingsError, match=message):
        settings(**change)


@real
def test_real_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", MIRROR)
    fetch(tmp_path / "out", train=[1], validation=[], test=False)
    records = np.fromfile(tmp_path / "out/data_batch_1.bin", np.uint8).reshape(10_000, 3073)
    assert records[:, 0].max() == 9
    assert records[0, 0] == 6  # a frog, the first picture of the set
