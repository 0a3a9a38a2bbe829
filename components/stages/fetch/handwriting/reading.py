"""Read binary files piece by piece, members of zip archives in place; a file that breaks off names the record and the byte."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

MAX_RECORD = 2**26  # bytes that one record may claim: of a page; nothing is allocated for a larger claim
# What zipfile raises for broken, encrypted or oddly compressed members.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or a member of a zip archive. ``name``: its path below the data set's folder, for names and errors."""

    path: Path
    name: str
    member: str | None = None

    def open(self) -> IO[bytes]:
        """Open for reading. ValueError for a broken archive."""
        if self.member is None:
            return self.path.open("rb")
        with self.checked():
            return zipfile.ZipFile(self.path).open(self.member)

    @property
    def length(self) -> int:
        """Number of bytes; of a member, as the archive states it."""
        if self.member is None:
            return self.path.stat().st_size
        with self.checked(), zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).file_size

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Turn the errors of a broken archive into a ValueError that names the file."""
        try:
            yield
        except BROKEN as error:
            raise ValueError(f"{self.name}: not readable: {' '.join(str(error).split()) or type(error).__name__}") from None


class Reader:
    """Sequential reader of little-endian records. ``record``: number of the current one, from 1; its faults name it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.record = 0
        self.offset = self.start = 0
        self.length = place.length
        self._file = place.open()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return self.length - self.offset

    def begin(self) -> None:
        """Start the next record here."""
        self.record += 1
        self.start = self.offset

    def take(self, count: int, what: str) -> bytes:
        """Return the next ``count`` bytes. ValueError if the file has fewer."""
        self._require(count, what)
        with self.place.checked():
            data = self._file.read(count)
        self.offset += len(data)
        if len(data) != count:
            raise self.fault(f"breaks off in {what}: {count:,} bytes are expected, {len(data):,} are there")
        return data

    def skip(self, count: int, what: str) -> int:
        """Pass over ``count`` bytes; return the offset of the first. ValueError if the file has fewer."""
        self._require(count, what)
        with self.place.checked():
            self._file.seek(self.offset + count)
        self.offset += count
        return self.offset - count

    def numbers(self, form: str, what: str) -> tuple[int, ...]:
        """Return the next numbers: ``form`` as in struct, little-endian: B, b, H, h, I, i."""
        form = f"<{form}"
        return struct.unpack(form, self.take(struct.calcsize(form), what))

    def fault(self, message: str) -> ValueError:
        """Return an error that names file, record and byte."""
        where = f"record {self.record} (byte {self.start:,})" if self.record else "header"
        return ValueError(f"{self.place.name}: {where}: {message}")

    def _require(self, count: int, what: str) -> None:
        if not 0 <= count <= MAX_RECORD:
            raise self.fault(f"{what} of {count:,} bytes is not possible: 0 to {MAX_RECORD:,}")
        if count > self.left:
            raise self.fault(f"breaks off in {what}: {count:,} bytes are expected, {max(0, self.left):,} are there")


@dataclass
class Parts:
    """Reads parts of files. A zip member stays open between two calls: parts in ascending order decompress it once."""

    _place: Place | None = None
    _file: IO[bytes] | None = field(default=None, repr=False)

    def read(self, place: Place, offset: int, count: int) -> bytes:
        """Return ``count`` bytes from ``offset`` on. ValueError if they are not there any more."""
        with place.checked():
            if place.member is None:
                with place.open() as file:
                    file.seek(offset)
                    data = file.read(count)
            else:
                data = self._of_member(place, offset, count)
        if len(data) != count:
            raise ValueError(f"{place.name}: byte {offset:,}: {count:,} bytes are expected, {len(data):,} are there")
        return data

    def _of_member(self, place: Place, offset: int, count: int) -> bytes:
        if self._file is None or self._place != place:
            self._place, self._file = place, place.open()
        self._file.seek(offset)
        return self._file.read(count)
