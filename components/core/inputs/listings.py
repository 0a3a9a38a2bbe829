"""What a user's folder held when it was last fetched, so that a plan can say what has changed since.

``.work/listings/<hash>.json`` has the files of a folder by DVC's hash of it: path -> MD5. No result depends on it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from components.core import settings
from components.core.files import write_atomically

PICTURES = frozenset((
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
    *(".avif", ".heic", ".jp2"),
))  # fmt: skip
NAMED = 3  # renamed folders in a line

Listing = Mapping[str, str]  # path below the folder -> MD5 of the file


def keep(folder_hash: str, files: Listing) -> None:
    """Store the files of a folder with this hash; a single file is no folder."""
    path = _path(folder_hash)
    if folder_hash.endswith(".dir") and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(dict(files)).encode())


def known(folder_hash: str) -> Listing | None:
    """Return the files of the folder that had this hash; None if they were not stored here."""
    try:
        content: dict[str, str] = json.loads(_path(folder_hash).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def _path(folder_hash: str) -> Path:
    return settings.WORK / "listings" / f"{folder_hash}.json"


def changes(before: Listing, after: Listing) -> str:
    """Say how ``after`` differs: ``10 pictures added, 1 removed, rose renamed to roses``."""
    renamed = renamed_folders(before, after)
    before = {_renamed(name, renamed): digest for name, digest in before.items()}
    added, removed = set(after) - set(before), set(before) - set(after)
    moved = sum((Counter(after[name] for name in added) & Counter(before[name] for name in removed)).values())
    changed = {name for name in set(before) & set(after) if before[name] != after[name]}
    counts = {"added": len(added) - moved, "removed": len(removed) - moved, "moved": moved, "changed": len(changed)}
    words = [f"{count} {what}" for what, count in counts.items() if count]
    if words:
        number, _, what = words[0].partition(" ")
        noun = (
            "picture" if all(PurePosixPath(name).suffix.lower() in PICTURES for name in added | removed | changed) else "file"
        )
        words[0] = f"{number} {noun}{'' if number == '1' else 's'} {what}"
    names = [f"{old} renamed to {new}" for old, new in sorted(renamed.items())]
    more = [f"{len(names) - NAMED} more folders renamed"] if len(names) > NAMED else []
    return ", ".join([*words, *names[:NAMED], *more])


def renamed_folders(before: Listing, after: Listing) -> dict[str, str]:
    """Return old folder -> new folder, where most files of a folder that is gone stand in one that is new."""
    old, new = _by_folder(before), _by_folder(after)
    come = {folder: files for folder, files in new.items() if folder not in old}
    renamed: dict[str, str] = {}
    for folder in sorted(set(old) - set(new)):
        shared = {other: sum((old[folder] & files).values()) for other, files in come.items() if other not in renamed.values()}
        best = max(shared, key=lambda other: (shared[other], other), default=None)
        if best is not None and 2 * shared[best] > sum(old[folder].values()):
            renamed[folder] = best
    return renamed


def _by_folder(files: Listing) -> dict[str, Counter[str]]:
    folders: dict[str, Counter[str]] = {}
    for name, digest in files.items():
        folders.setdefault(str(PurePosixPath(name).parent), Counter())[digest] += 1
    return folders


def _renamed(name: str, folders: Mapping[str, str]) -> str:
    path = PurePosixPath(name)
    folder = str(path.parent)
    return f"{folders[folder]}/{path.name}" if folder in folders else name
