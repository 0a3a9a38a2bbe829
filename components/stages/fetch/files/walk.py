"""Read the user's folders: entries in byte order, without junk, and no link that leads out unless it is allowed."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from components.core.files import file_state
from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.names import is_junk, plain_name
from components.stages.fetch.files.suffixes import FORMATS, MAX_BYTES, unsupported

State = tuple[str, ...] | tuple[int, int, int] | None

log = logging.getLogger(__name__)


@dataclass
class Walk:
    """A reader of a folder. ``visited``: the state of each folder and file when it was read; ``linked``: links to folders.

    ``skipped``: the number of files passed over, by suffix or "hidden".
    """

    root: Path
    faults: Faults
    follow_links: bool = False
    visited: dict[Path, State] = field(default_factory=dict)
    linked: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    _places: dict[Path, str] = field(default_factory=dict)

    def entries(self, parent: Path) -> list[Path]:
        """List the valid entries of ``parent`` in byte order of their names; invalid ones become faults."""
        names = os.listdir(parent)
        self.visited[parent] = _state_of_names(names)
        entries = []
        for name in sorted(names, key=os.fsencode):
            if is_junk(name):
                self.skipped["hidden"] += 1
                continue
            try:
                path = parent / plain_name(name, parent)
                self.check_inside(path)
            except ValueError as error:
                self.faults.add(str(error))
                continue
            entries.append(path)
        return entries

    def folders(self, parent: Path) -> list[Path]:
        return [path for path in self.entries(parent) if path.is_dir()]

    def pictures(self, parent: Path, above: tuple[str, ...] = ()) -> list[Path]:
        """List the image files below ``parent``, in folders of any depth, in byte order of their paths' parts.

        ``above``: the folders that ``parent`` is in.
        """
        found, above = [], (*above, self._real(parent))
        for path in self.entries(parent):
            if path.is_dir() and self._real(path) in above:
                self.faults.add(f"{path}: a link that leads back to a folder that it is in")
            elif path.is_dir():
                found += self.pictures(path, above)
            elif path.suffix.lower() in FORMATS and self.is_picture(path):
                found.append(path)
        return found

    def is_picture(self, path: Path) -> bool:
        """Return whether a file with a suffix of an image can be one; if not, the reason becomes a fault."""
        self.visited[path] = file_state(path)
        try:
            check_picture(path)
        except ValueError as error:
            self.faults.add(str(error))
            return False
        return True

    def note(self, path: Path) -> Path:
        """Record the state of a file that is about to be read. ValueError for a link that leads out."""
        self.check_inside(path)
        self.visited[path] = file_state(path)
        return path

    def read(self, path: Path, most: int) -> bytes:
        """Return the content of a file that describes pictures. ValueError if it has more than ``most`` bytes."""
        self.note(path)
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ValueError(f"{path}: more than {most:,} bytes")
        return data

    def changed(self) -> list[str]:
        """Return the names of folders and files that have come, gone or changed since they were read."""
        return [os.path.relpath(path, self.root) for path, state in self.visited.items() if state_of(path) != state]

    def file(self, name: str, where: str) -> Path | None:
        """Return the image file ``name``, relative to the root; None if it is invalid, which becomes a fault."""
        path = self.root / name
        try:
            if not path.is_file():
                raise ValueError(f"{name}: no such file in {self.root}")
            check_picture(self.note(path))
        except (OSError, ValueError) as error:
            self.faults.add(f"{where}: {error}")
            return None
        return path

    def check_inside(self, path: Path) -> None:
        """Raise ValueError for a link that leads out of the root, and for anything but files and folders."""
        place = os.path.realpath(path) if path.is_symlink() else os.path.join(self._real(path.parent), path.name)
        outside = not f"{place}/".startswith(f"{self._real(self.root)}/")
        if outside and not self.follow_links:
            raise ValueError(f"{path}: a link that leads out of {self.root} is refused; follow_links: true follows it")
        if not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path}: neither a file nor a folder")
        if outside and path.is_symlink() and path.is_dir():
            self.linked.append(path)

    def _real(self, folder: Path) -> str:
        """Return the folder's path without links. Path.resolve() would fail at a link to itself."""
        if folder not in self._places:
            self._places[folder] = os.path.realpath(folder)
        return self._places[folder]

    def warn(self) -> None:
        """Log what was passed over, and links that DVC does not see through."""
        if set(self.skipped) - {"hidden"}:
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
            log.warning("%s: skipped %s", self.root, counts)
        if self.linked:
            names = ", ".join(path.relative_to(self.root).as_posix() for path in self.linked[:5])
            again = "after a change behind them: dvc repro --force --single-item fetch@<dataset>"
            log.warning("%s: DVC does not look behind links to folders (%s); %s", self.root, names, again)


def state_of(path: Path) -> State:
    """Return a value that changes with a file's content, or with the names in a folder."""
    try:
        return _state_of_names(os.listdir(path)) if path.is_dir() else file_state(path)
    except OSError:
        return None


def _state_of_names(names: list[str]) -> State:
    return tuple(sorted(name for name in names if not is_junk(name)))


def check_picture(path: Path) -> None:
    """Raise ValueError for a file that is too large for a picture, or of a format that cannot be decoded here."""
    if path.suffix.lower() in FORMATS and (reason := unsupported(path.suffix)):
        raise ValueError(f"{path}: {reason}")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes; an image file may have at most {MAX_BYTES:,}")
