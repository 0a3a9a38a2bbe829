"""DVC's hashes of files and folders, from its state database where the files are unchanged; and the objects in its cache."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from configparser import ConfigParser, Error
from contextlib import contextmanager
from pathlib import Path

from components.core.inputs import files
from components.core.inputs.declared import Unusual

PROTECTED = 0o444  # mode of the objects that DVC believes without hashing them
READ_AT_MOST = 50_000_000  # bytes that are hashed here; DVC hashes more, and remembers it for the next time
KNOWN = {"core": {"site_cache_dir", "analytics", "autostage", "remote", "check_update"}}  # settings that change no status


class Hashes:
    """Hashes of the repository at ``root``, each path once. ``state``: DVC's state database."""

    def __init__(self, root: Path, state: sqlite3.Connection | None) -> None:
        self._root, self._state = root, state
        self._ignored = frozenset(files.IGNORED | _names(root))
        self._plain: set[str] = {str(root)}  # folders known to have no .dvcignore
        self._cache = _cache_folder(root)
        self._hashes: dict[str, str | None] = {}
        self._here: set[str] = set()  # objects that are in the cache
        self._read = 0

    def of(self, path: str) -> str | None:
        """Return the hash of the file or folder at an absolute path; None if there is nothing."""
        if path not in self._hashes:
            self._hashes[path] = self._hash(path)
        return self._hashes[path]

    def cached(self, value: str) -> bool:
        """Return whether DVC's cache has the object, and all that a folder's names."""
        if not self._has(value):
            return False
        if not value.endswith(".dir"):
            return True
        try:
            with open(self._object(value), encoding="utf-8") as file:
                entries = [str(entry["md5"]) for entry in json.load(file)]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return all(map(self._has, entries))

    def _hash(self, path: str) -> str | None:
        if not os.path.exists(path):
            return None
        try:
            places = dict(self._walk(path))
            young = time.time_ns() - files.TICK
            listing = {name: files._look(place, young) for name, place in places.items()}
        except OSError as error:
            raise Unusual(path) from error
        known = files._known({places[name]: file for name, file in listing.items()}, self._state)
        self._read += sum(file.size for name, file in listing.items() if places[name] not in known)
        if self._read > READ_AT_MOST:
            raise Unusual("many files that DVC has not hashed yet")
        return files.folder_hash({name: known.get(place) or files.md5(place) for name, place in places.items()})

    def _walk(self, top: str) -> Iterator[tuple[str, str]]:
        """Yield (path below ``top``, place) of the files that DVC hashes; "" for a file itself."""
        ignored = self._ignored_in(top)
        if not os.path.isdir(top):
            yield "", top
            return
        folders = [top]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.name == ".dvcignore" or (ignored and entry.name == ".dvc"):
                        raise Unusual(entry.path)
                    if entry.name in ignored:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif not entry.is_dir():  # like DVC, do not follow links to folders
                        yield entry.path[len(top) + 1 :], entry.path

    def _ignored_in(self, path: str) -> frozenset[str]:
        """Return the names that DVC ignores below a path; Unusual if it ignores the path itself, or has more rules there."""
        if not path.startswith(f"{self._root}{os.sep}"):
            return frozenset()  # a user's folder elsewhere
        if self._ignored.intersection(path[len(str(self._root)) + 1 :].split(os.sep)):
            raise Unusual(path)
        folder = os.path.dirname(path)
        while folder not in self._plain:
            if os.path.exists(os.path.join(folder, ".dvcignore")):
                raise Unusual(folder)
            self._plain.add(folder)
            folder = os.path.dirname(folder)
        return self._ignored

    def _has(self, value: str) -> bool:
        if value in self._here:
            return True
        try:
            mode = os.stat(self._object(value)).st_mode
        except OSError:
            return False
        if mode & 0o7777 != PROTECTED:
            raise Unusual("an object of the cache that DVC hashes again")
        self._here.add(value)
        return True

    def _object(self, value: str) -> str:
        return f"{self._cache}{os.sep}{value[:2]}{os.sep}{value[2:]}"


@contextmanager
def open_hashes(root: Path) -> Iterator[Hashes]:
    """Open the hashes of the repository; Unusual for settings of DVC that are not known here."""
    with files._state(root) as state:
        yield Hashes(root, state)


def _names(root: Path) -> set[str]:
    """Return the names in the root's .dvcignore; Unusual for patterns."""
    path = root / ".dvcignore"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = {line.strip() for line in lines if line.strip() and not line.strip().startswith("#")}
    if not all(re.fullmatch(r"[\w.-]+", name) for name in names):
        raise Unusual(path)
    return names


def _cache_folder(root: Path) -> str:
    """Return the folder of DVC's objects; Unusual if its configuration has more than this knows."""
    homes = [os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "/etc/xdg"]
    if any(os.path.exists(os.path.join(home, "dvc", "config")) for home in homes):
        raise Unusual("DVC's settings outside of the repository")
    place = root / ".dvc" / "cache"
    for name in ("config", "config.local"):
        config = ConfigParser(interpolation=None)
        try:
            config.read(root / ".dvc" / name, encoding="utf-8")
        except (Error, UnicodeDecodeError):
            raise Unusual(name) from None
        for section in config.sections():
            title = section.strip("'").split(" ")[0]
            keys = set(config[section])
            if title == "cache" and keys <= {"dir", "type"}:
                place = root / ".dvc" / config.get(section, "dir", fallback=str(place))
            elif title != "remote" and keys - KNOWN.get(title, set()):
                raise Unusual(section)
    return str(place / "files" / "md5")
