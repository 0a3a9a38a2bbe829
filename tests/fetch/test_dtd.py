"""Textures: the first edition that can be had, each with its own sums."""

import hashlib
import json
import os
import tarfile

import pytest

from components.core.config.strict import SettingsError, parse
from components.stages.fetch import dtd
from components.stages.fetch.downloads.published import Published
from components.stages.fetch.dtd import IMAGES, REDUCED, Dtd, folder_sum

MIRROR = os.environ.get("DATA_MIRROR")


def settings(**changes):
    block = {"source": "dtd", "path": "x", "textures": ["banded", "dotted"], "editions": ["reduced", "published"]}
    return parse(Dtd.Settings, block | changes, "datasets.x")


def fetch(out, **changes):
    """The names of the photographs in the order in which they were packed."""
    out.mkdir()
    Dtd.fetch(settings(**changes), out, 0, out)
    assert sorted(path.name for path in out.iterdir()) == ["all.tar", "dataset.json"]
    with tarfile.open(out / "all.tar") as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


@pytest.fixture
def mirror_of(tmp_path, monkeypatch):
    """A mirror with the reduced edition of some textures, and the archive of two."""

    def write(*reduced):
        mirror = tmp_path / "mirror"
        (mirror / "dtd").mkdir(parents=True)
        for texture in reduced:
            (mirror / REDUCED / texture).mkdir(parents=True)
            for number in (2, 1):
                (mirror / REDUCED / texture / f"{texture}_{number}.jpg").write_bytes(f"small {texture} {number}".encode())
            monkeypatch.setitem(dtd.REDUCED_SHA256, texture, folder_sum(mirror / REDUCED / texture))
        for texture in ("banded", "dotted"):
            (tmp_path / IMAGES / texture).mkdir(parents=True)
            (tmp_path / IMAGES / texture / f"{texture}_1.jpg").write_bytes(f"large {texture}".encode())
        with tarfile.open(mirror / "dtd" / "dtd.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "dtd", "dtd")
        digest = hashlib.md5((mirror / "dtd/dtd.tar.gz").read_bytes()).hexdigest()
        monkeypatch.setattr(dtd, "ARCHIVE", Published("dtd", "dtd.tar.gz", digest))
        monkeypatch.setenv("DATA_MIRROR", str(mirror))
        return mirror

    return write


def test_the_reduced_edition_of_a_mirror(tmp_path, mirror_of):
    mirror_of("banded", "dotted")
    assert fetch(tmp_path / "out") == [
        (f"{texture}/{texture}_{number}.jpg", f"small {texture} {number}".encode())
        for texture in ("banded", "dotted")
        for number in (1, 2)
    ]
    index = json.loads((tmp_path / "out/dataset.json").read_text())
    assert (index["layout"], index["classes"]) == ("files", {"label": ["banded", "dotted"]})


def test_the_published_one_where_the_mirror_lacks_a_texture(tmp_path, mirror_of, caplog):
    mirror_of("banded")
    large = [("banded/banded_1.jpg", b"large banded"), ("dotted/dotted_1.jpg", b"large dotted")]
    assert fetch(tmp_path / "out") == large
    assert "the reduced edition has no 'dotted'" in caplog.text
    assert "the published edition is taken" in caplog.text
    assert fetch(tmp_path / "first", editions=["published", "reduced"]) == large


def test_an_exchanged_photograph_is_found(tmp_path, mirror_of):
    (mirror_of("banded") / REDUCED / "banded" / "banded_1.jpg").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"banded: the sum is [0-9a-f]{64}, expected"):
        fetch(tmp_path / "out", textures=["banded"], editions=["reduced"])


def test_without_any_edition_the_error_names_both(tmp_path, mirror_of, monkeypatch):
    mirror_of()
    monkeypatch.setattr(dtd, "ARCHIVE", Published("dtd", "none.tar.gz", "0" * 32))
    with pytest.raises(ValueError, match=r"no folder that holds dtd10_64; dtd/none\.tar\.gz cannot be had"):
        fetch(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"textures": ["stripy"]}, r"textures\.0: 'stripy'"), ({"editions": ["small"]}, r"editions\.0: 'small'")],
)
def test_settings_that_cannot_be_used(change, message):
    with pytest.raises(SettingsError, match=message):
        settings(**change)


@pytest.mark.skipif(not MIRROR, reason="DATA_MIRROR is not set")
def test_real_textures(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", MIRROR)
    photographs = fetch(tmp_path / "out", textures=list(dtd.REDUCED_SHA256), editions=["reduced"])
    assert len(photographs) == 1200
    assert all(data.startswith(b"\xff\xd8") for _, data in photographs)  # JPEG
