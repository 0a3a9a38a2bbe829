"""Unpack untrusted archives: only plain files below the target, with limits of number and size."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

CHUNK = 1 << 18
BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


@dataclass(frozen=True)
class Member:
    """An entry of an archive. ``fault``: the reason to reject it ("" for a plain file or a folder)."""

    name: str
    size: int
    is_folder: bool
    fault: str
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, max_bytes: int, max_members: int) -> None:
    """Unpack a zip or tar (plain, .gz, .xz, .bz2) into the new ``folder``.

    ValueError names the archive and the member for absolute names, ``..``, links, devices, duplicates, encryption, more than
    ``max_members`` entries or ``max_bytes`` unpacked, and unreadable archives. ``folder`` then does not exist.
    """
    assert not folder.exists(), folder
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with _members(archive) as members:
            _write_all(archive, members, temporary, max_bytes, max_members)
        temporary.rename(folder)
    except BROKEN as error:
        raise ValueError(f"{archive}: not readable: {error or type(error).__name__}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_all(archive: Path, members: Iterator[Member], folder: Path, max_bytes: int, max_members: int) -> None:
    left = max_bytes
    for count, member in enumerate(members, start=1):
        where = f"{archive}: member {member.name!r}"
        if count > max_members:
            raise ValueError(f"{where}: more than {max_members} members")
        path = folder / _safe(member, where)
        try:
            (path if member.is_folder else path.parent).mkdir(parents=True, exist_ok=True)
            if not member.is_folder:
                left -= _write(member, path, left, f"{where}: more than {max_bytes} bytes unpacked")
        except (FileExistsError, NotADirectoryError):  # a duplicate, or a file that another member needs as a folder
            raise ValueError(f"{where}: there are two of this name") from None


def _safe(member: Member, where: str) -> PurePosixPath:
    """Return the member's path if it stays below the folder, else raise ValueError."""
    path = PurePosixPath(member.name)
    if member.fault:
        raise ValueError(f"{where}: {member.fault} is refused")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name or member.name[1:2] == ":":
        raise ValueError(f"{where}: a name that leads out of the folder is refused")
    if not path.parts and not member.is_folder:
        raise ValueError(f"{where}: a file needs a name")
    return path


def _write(member: Member, path: Path, left: int, too_large: str) -> int:
    """Write one file and return its size, counted while writing, since the archive's claim is not reliable."""
    if member.size > left:
        raise ValueError(too_large)
    written = 0
    with member.open() as source, path.open("xb") as out:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > left:
                raise ValueError(too_large)
            out.write(chunk)
    return written


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield (_from_zip(packed, entry) for entry in packed.infolist())
    else:
        with tarfile.open(archive) as tar:
            yield (_from_tar(tar, entry) for entry in tar)


def _from_zip(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 if the archive has no Unix modes
    fault = "a link or device" if kind not in (0, stat.S_IFREG, stat.S_IFDIR) else ""
    fault = "an encrypted file" if entry.flag_bits & 1 else fault
    # orig_filename: zipfile truncates a name at a NUL, which would hide it
    return Member(entry.orig_filename, entry.file_size, entry.is_dir(), fault, lambda: packed.open(entry))


def _from_tar(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    fault = "" if entry.isreg() or entry.isdir() else "a link or device"

    def open_entry() -> IO[bytes]:
        source = tar.extractfile(entry)
        assert source is not None
        return source

    return Member(entry.name, entry.size, entry.isdir(), fault, open_entry)
