"""Archives that try to get out, or to fill the disk."""

import gzip
import io
import struct
import tarfile
import zipfile

import pytest

from components.stages.fetch.downloads.unpack import Member, _write_all, unpack

BIG = 10_000


def make_tar(path, members, mode="w"):
    """``members``: (name, bytes) for a file, (name, TarInfo type, link name) for anything else."""
    with tarfile.open(path, mode) as tar:
        for name, *rest in members:
            entry = tarfile.TarInfo(name)
            if isinstance(rest[0], str | bytes) and len(rest) == 1:
                entry.size = len(rest[0])
                tar.addfile(entry, io.BytesIO(rest[0]))
            else:
                entry.type, entry.linkname = rest
                tar.addfile(entry)
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def refused(archive, tmp_path, match, max_bytes=BIG, max_members=10):
    with pytest.raises(ValueError, match=match) as caught:
        unpack(archive, tmp_path / "out" / "unpacked", max_bytes, max_members)
    assert archive.name in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []  # nothing is kept


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz")])
def test_plain_tar_is_unpacked(tmp_path, name, mode):
    archive = make_tar(tmp_path / name, [("folder", tarfile.DIRTYPE, ""), ("folder/x.bin", b"abc"), ("./y", b"")], mode)
    unpack(archive, tmp_path / "out", BIG, 10)
    assert (tmp_path / "out/folder/x.bin").read_bytes() == b"abc"
    assert (tmp_path / "out/y").read_bytes() == b""


def test_plain_zip_is_unpacked(tmp_path):
    unpack(make_zip(tmp_path / "a.zip", [("folder/", b""), ("folder/x.bin", b"abc")]), tmp_path / "out", BIG, 10)
    assert (tmp_path / "out/folder/x.bin").read_bytes() == b"abc"


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/tmp/out.txt", "a\\..\\out.txt", "C:/out.txt", "a/.."])
def test_names_that_lead_out(tmp_path, make, name):
    refused(make(tmp_path / "a.archive", [("good", b"1"), (name, b"x")]), tmp_path, "leads out of the folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    refused(make_tar(tmp_path / "a.tar", [("good", b"1"), ("evil", kind, "good")]), tmp_path, "'evil': a link or device")


def test_link_in_a_zip(tmp_path):
    entry = zipfile.ZipInfo("evil")
    entry.external_attr = 0o120777 << 16
    refused(make_zip(tmp_path / "a.zip", [(entry, b"/etc/passwd")]), tmp_path, "'evil': a link or device")


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["x", "./x", "x/y"])
def test_two_members_of_one_name(tmp_path, make, second):
    refused(make(tmp_path / "a.archive", [("x", b"1"), (second, b"2")]), tmp_path, "there are two of this name")


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_too_large_and_too_many(tmp_path, make):
    refused(make(tmp_path / "a.archive", [("x", b"0" * 6000), ("y", b"0" * 6000)]), tmp_path, "'y': more than 10000 bytes")
    refused(make(tmp_path / "b.archive", [(str(i), b"") for i in range(11)]), tmp_path, "'10': more than 10 members")


def test_exactly_the_bounds_is_allowed(tmp_path):
    unpack(make_zip(tmp_path / "a.zip", [("x", b"0" * BIG)]), tmp_path / "out", BIG, 1)
    assert (tmp_path / "out/x").stat().st_size == BIG


def test_zip_that_lies_about_its_size(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("x", b"0" * 1_000_000)])
    true, claimed = struct.pack("<L", 1_000_000), struct.pack("<L", 10)
    archive.write_bytes(archive.read_bytes().replace(true, claimed))
    refused(archive, tmp_path, "not readable|more than")


def test_true_bytes_are_counted_whatever_the_member_claims(tmp_path):
    member = Member("x", 10, False, "", lambda: io.BytesIO(b"0" * (BIG + 1)))
    with pytest.raises(ValueError, match="'x': more than 10000 bytes"):
        _write_all(tmp_path / "a.zip", iter([member]), tmp_path, BIG, 10)


@pytest.mark.parametrize("content", [b"no archive at all", gzip.compress(b"no tar", mtime=0), b""])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.archive").write_bytes(content)
    refused(tmp_path / "a.archive", tmp_path, "not readable")


def test_broken_archive(tmp_path):
    archive = make_tar(tmp_path / "a.tar.gz", [("x", bytes(range(256)) * 30)], "w:gz")
    archive.write_bytes(archive.read_bytes()[:-200])
    refused(archive, tmp_path, "not readable")
