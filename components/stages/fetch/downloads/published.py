"""Published files with their checksums: download and verify."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from components.core.files import locked
from components.core.settings import WORK
from components.stages.fetch.downloads.transfer import CHUNK, transfer

if TYPE_CHECKING:
    from hashlib import _Hash

DOWNLOADS = WORK / "downloads"
SUFFIXES = ("", ".gz", ".xz")  # a copy may be compressed; the checksum is of the uncompressed file


@dataclass(frozen=True)
class Published:
    """A published file. ``folder``: its dataset's folder in a mirror; ``checksum``: MD5 or SHA-256 in hexadecimal digits."""

    folder: str
    name: str
    checksum: str
    urls: tuple[str, ...] = ()


def download(url: str, file: Published, suffix: str, target: Path) -> None:
    """Download ``url``, compressed according to ``suffix``, to ``target``.

    ValueError if the checksum is wrong; the data are discarded. OSError if the transfer fails; the partial file remains for
    the next call.
    """
    part = DOWNLOADS / f"{file.checksum}{suffix}.part"
    with locked(DOWNLOADS / f"{file.checksum}.lock"):
        resumed = part.exists()
        transfer(url, part)
        try:
            take(part, url, file, suffix, target)
        except ValueError:
            if not resumed:
                raise
            part.unlink()  # the partial file may be of another file: download again from the start
            transfer(url, part)
            take(part, url, file, suffix, target)
        finally:
            part.unlink(missing_ok=True)


def take(source: Path, shown: str, file: Published, suffix: str, target: Path) -> None:
    """Decompress ``source`` (``shown`` in errors) to ``target`` atomically. ValueError if the checksum is wrong."""
    temporary = target.with_name(f"{target.name}.part")
    digest = _digest(file.checksum)
    try:
        with _open(source, suffix) as packed, temporary.open("wb") as out:
            while chunk := packed.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file.checksum:
            raise ValueError(f"{shown}: the {digest.name} of {file.name} is {digest.hexdigest()}, expected {file.checksum}")
        temporary.replace(target)
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{shown}: not readable as {suffix}: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def checksum(path: Path, like: str) -> str:
    """Compute the file's checksum in hexadecimal digits by the algorithm of ``like``: MD5 or SHA-256."""
    digest = _digest(like)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _open(path: Path, suffix: str) -> IO[bytes]:
    if suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    return lzma.open(path) if suffix == ".xz" else path.open("rb")


def _digest(like: str) -> _Hash:
    assert len(like) in (32, 64), like
    # MD5 as published, against corruption, not against attacks.
    return hashlib.md5(usedforsecurity=False) if len(like) == 32 else hashlib.sha256()
