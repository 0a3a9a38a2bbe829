"""Write uncompressed tars whose bytes depend on names and contents only: no times, owners or modes."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol


@dataclass(frozen=True)
class Part:
    """``size`` bytes of a file from ``offset`` on: a member of an uncompressed tar."""

    file: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Stored(Protocol):
    """Bytes that are read on demand."""

    def read(self) -> bytes: ...


Content = Path | Part | Stored
Classes = dict[str, list[Path]]  # class name -> its images, both in byte order of their names


def pack_files(members: Iterable[tuple[str, Content]], archive: Path) -> None:
    """Write the members, (name, content), in the given order."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)  # time 0, owner 0, mode 644
            with _opened(content) as (file, size):
                entry.size = size
                tar.addfile(entry, file)


def pack(classes: Classes, archive: Path) -> None:
    """Write an uncompressed tar of "<class>/<file name>" whose bytes depend on names and contents only."""
    members = {f"{name}/{path.name}": path for name, paths in classes.items() for path in paths}
    pack_files(sorted(members.items(), key=lambda pair: pair[0].encode()), archive)


@contextmanager
def _opened(content: Content) -> Iterator[tuple[IO[bytes], int]]:
    """Open a content as (file at its first byte, size)."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    elif isinstance(content, Part):
        with content.file.open("rb") as file:
            file.seek(content.offset)
            yield file, content.size
    else:
        data = content.read()
        yield io.BytesIO(data), len(data)
