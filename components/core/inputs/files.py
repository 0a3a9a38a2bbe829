"""List the files of a dependency, detect changes to them, and compute their DVC hash.

A file is unchanged if its mtime, size and inode are; a file written within the clock's last tick is compared by its bytes.
Hashes are taken from DVC's own state database if it has them, so that large data are not read twice.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from configparser import ConfigParser, Error
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from components.core.inputs.declared import Unusual

TICK = 50_000_000  # nanoseconds; a kernel's file times advance in steps of 1 to 10 ms
VARIABLES = 900  # of one query; older SQLite takes 999
IGNORED = {".git", ".hg", ".dvc"}  # by DVC itself (dvc/ignore.py)


@dataclass(frozen=True)
class File:
    """The state of a file for later comparison; ``bytes_hash`` only if the file is so new that a change may keep its mtime."""

    mtime: int
    size: int
    inode: int
    bytes_hash: str = ""


Listing = dict[str, File]  # path below the dependency ("" for a single file) -> file


def listing(path: Path, root: Path) -> Listing:
    """List the files of a dependency. ``root``: of DVC's repository. FileNotFoundError if the dependency does not exist."""
    young = time.time_ns() - TICK
    return {name: _look(place, young) for name, place in _walk(path, ignored_names(path, root))}


def touched(before: Listing, path: Path, root: Path) -> list[str]:
    """Return the names of files added, removed or written since ``before``; "" is the dependency itself."""
    if not path.exists():
        return [""]
    try:
        now = dict(_walk(path, ignored_names(path, root)))
        names = [name for name in {**before, **now} if name not in before or name not in now]
        return names or [name for name, file in before.items() if not _is_same(file, now[name])]
    except (OSError, Unusual):
        return [""]


def _is_same(file: File, place: str) -> bool:
    state = os.stat(place)
    same = (file.mtime, file.size, file.inode) == (state.st_mtime_ns, state.st_size, state.st_ino)
    return same and (not file.bytes_hash or file.bytes_hash == md5(place))


def _look(place: str, young: int) -> File:
    state = os.stat(place)
    return File(state.st_mtime_ns, state.st_size, state.st_ino, md5(place) if state.st_mtime_ns > young else "")


def _walk(path: Path, ignored: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, path) of the files that DVC hashes. Like DVC, follow links to files but not to folders."""
    top = str(path)
    if not os.path.isdir(top):
        yield "", top
        return
    for folder, folders, names in os.walk(top):
        if ".dvcignore" in names or (ignored and ".dvc" in folders):
            raise Unusual(folder)
        folders[:] = [name for name in folders if name not in ignored]
        for name in names:
            if name not in ignored:
                place = os.path.join(folder, name)
                yield place[len(top) + 1 :], place


def ignored_names(path: Path, root: Path) -> frozenset[str]:
    """Return the names that DVC ignores below ``path``, from the root's .dvcignore. Unusual for patterns and nested files."""
    if not path.is_relative_to(root):
        return frozenset()  # a user's folder elsewhere
    names = set(IGNORED)
    if (root / ".dvcignore").is_file():
        lines = (line.strip() for line in (root / ".dvcignore").read_text(encoding="utf-8").splitlines())
        names |= {line for line in lines if line and not line.startswith("#")}
    between = [folder for folder in path.parents if folder != root and folder.is_relative_to(root)]
    if any(not re.fullmatch(r"[\w.-]+", name) for name in names) or any((folder / ".dvcignore").exists() for folder in between):
        raise Unusual(path)
    if names & set(path.relative_to(root).parts):
        raise Unusual(path)
    return frozenset(names)


def hashes(paths: dict[str, Path], listings: dict[str, Listing], root: Path) -> dict[str, str]:
    """Compute DVC's hash of each dependency from its listing."""
    return {name: folder_hash(digests) for name, digests in file_hashes(paths, listings, root).items()}


def file_hashes(paths: dict[str, Path], listings: dict[str, Listing], root: Path) -> dict[str, dict[str, str]]:
    """Compute the MD5 of each file of each dependency: dependency -> path below it -> MD5."""
    with _state(root) as state:
        return {name: _digests(str(path), listings[name], state) for name, path in paths.items()}


def _digests(path: str, files: Listing, state: sqlite3.Connection | None) -> dict[str, str]:
    places = {name: os.path.join(path, name) if name else path for name in files}
    known = _known({places[name]: file for name, file in files.items()}, state)
    return {name: known.get(place) or md5(place) for name, place in places.items()}


def folder_hash(digests: dict[str, str]) -> str:
    """Compute DVC's hash of a folder from the MD5 of its files; of a single file, "", it is its own."""
    if list(digests) == [""]:
        return digests[""]
    tree = [{"md5": digests[name], "relpath": name} for name in sorted(digests)]
    return hashlib.md5(json.dumps(tree).encode(), usedforsecurity=False).hexdigest() + ".dir"


def md5(path: str) -> str:
    """Compute the MD5 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _known(files: dict[str, File], state: sqlite3.Connection | None) -> dict[str, str]:
    """Look up path -> hash in DVC's state database, for files unchanged since the listing (dvc_data/hashfile/state.py)."""
    digests = {path: file.bytes_hash for path, file in files.items() if file.bytes_hash}
    missing = [path for path in files if path not in digests]
    for start in range(0, len(missing) if state else 0, VARIABLES):
        assert state is not None
        part = missing[start : start + VARIABLES]
        query = f"SELECT key, value FROM Cache WHERE raw = 1 AND key IN ({','.join('?' * len(part))})"  # noqa: S608
        for path, text in state.execute(query, part):
            if value := _hash_in(text, path, files[path]):
                digests[path] = value
    return digests


def _hash_in(text: str, path: str, file: File) -> str | None:
    """The hash in an entry of the state database, if the entry is of the file as it was listed."""
    try:
        entry, state = json.loads(text), os.stat(path)
        token = hashlib.md5(str(([file.inode, state.st_mtime, file.size],)).encode(), usedforsecurity=False).hexdigest()
        same = entry["version"] == 1 and entry["checksum"] == str(int(token, 16)) and state.st_mtime_ns == file.mtime
        value = entry["hash_info"]["md5"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if same and isinstance(value, str) else None


@contextmanager
def _state(root: Path) -> Iterator[sqlite3.Connection | None]:
    """Open DVC's state database read-only; None if DVC 3.67.1 has none, and files must be hashed here."""
    path = state_path(root)
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5) if path.is_file() else None
        if connection:
            connection.execute("SELECT value FROM Cache LIMIT 0")
    except (sqlite3.Error, OSError):
        connection = None
    if connection is None:
        yield None
        return
    with closing(connection):
        yield connection


def state_path(root: Path) -> Path:
    """Return the path of DVC's state database for a repository (dvc/repo/__init__.py, ``site_cache_dir``)."""
    config = ConfigParser(interpolation=None)
    with suppress(Error, UnicodeDecodeError):
        config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    default = config.get("core", "site_cache_dir", fallback="/var/tmp/dvc")  # noqa: S108
    place = os.environ.get("DVC_SITE_CACHE_DIR") or default
    try:
        token = str((str(root), None, os.path.getmtime(root / ".dvc" / "tmp" / "btime"), getpass.getuser(), 3, 0))
    except (OSError, KeyError):  # no such file, or a user without a name
        return root / ".dvc" / "none"
    return (
        Path(place) / "repo" / hashlib.md5(token.encode(), usedforsecurity=False).hexdigest() / "hashes" / "local" / "cache.db"
    )
