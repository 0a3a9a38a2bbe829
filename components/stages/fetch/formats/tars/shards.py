"""Read the shards of WebDataset: tars whose members ``<key>.<extension>`` with the same key belong together.

Nothing is unpacked: pictures are parts of the tar, and only the small members are read. The key is the member's path up to the
first dot of its file name (https://webdataset.github.io/webdataset). Only plain files count: links and devices are faults.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from components.stages.fetch.files.names import relative_name, split_of
from components.stages.fetch.files.pack import Part
from components.stages.fetch.files.walk import Walk

MAX_MEMBER = 2**24  # bytes of a label, caption or JSON document
COMPRESSED = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")

Sample = tuple[str, dict[str, Part]]  # key, extension -> its bytes in the tar


def expand(pattern: str) -> list[str]:
    """Expand ``{000..012}`` and ``{a,b}``, as shells and WebDataset do."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", pattern)
    if not found:
        return [pattern]
    first, last, choices = found.groups()
    if choices is None and int(last) - int(first) > 10**6:
        raise ValueError(f"{pattern!r} stands for more than a million files")
    parts = choices.split(",") if choices else [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    return [name for part in parts for name in expand(pattern[: found.start()] + part + pattern[found.end() :])]


def find_shards(walk: Walk) -> dict[str, list[Path]]:
    """Return split -> tars in the folder and the folders in it, divided by words such as train and val in their names."""
    found: dict[str, list[Path]] = {}
    for folder in (walk.root, *walk.folders(walk.root)):
        for path in walk.entries(folder):
            if path.name.lower().endswith(COMPRESSED):
                walk.faults.add(f"{path}: a compressed tar cannot be read without unpacking; decompress it to .tar")
            if path.suffix.lower() == ".tar":
                found.setdefault(_split(path, walk.root), []).append(path)
    if "all" in found and len(found) > 1:
        names = ", ".join(path.name for path in found["all"][:5])
        walk.faults.add(f"{walk.root}: {names}: of no split, beside others; name them: shards: {{train: ..., test: ...}}")
    return found


def _split(path: Path, root: Path) -> str:
    words = re.split(r"[^A-Za-z]+", path.relative_to(root).with_suffix("").as_posix())
    return next((split for word in words if (split := split_of(word))), "all")


def read_shard(path: Path, walk: Walk) -> Iterator[Sample]:
    """Yield the samples of a tar, whose members follow one another. Invalid members become faults."""
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            members = [parts for member in archive if (parts := _parts(member, path, walk))]
            file.seek(archive.offset)
            rest = file.read(2**20)
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not readable as an uncompressed tar: {error}") from None
    if len(rest) < 512 or any(rest):
        fault = "is cut off" if len(rest) < 512 else "is damaged, or several tars in one file"
        raise ValueError(f"{path}: the tar {fault}")
    seen = set()
    for key, group in groupby(members, key=lambda parts: parts[0]):
        if key in seen:
            walk.faults.add(f"{path}: the members of {key} do not follow one another")
        seen.add(key)
        sample: dict[str, Part] = {}
        for _, extension, part in group:
            if extension in sample:
                walk.faults.add(f"{path}: {key}.{extension} is there twice")
            sample[extension] = part
        yield key, sample


def _parts(member: tarfile.TarInfo, path: Path, walk: Walk) -> tuple[str, str, Part] | None:
    """Return (key, extension, content) of a member; None for folders, hidden files and faults."""
    folder, _, name = member.name.removeprefix("./").rpartition("/")
    key, _, extension = name.partition(".")
    if member.isdir() or not key:
        return None
    try:
        relative_name(member.name.removeprefix("./"), str(path))
        if not member.isreg() or member.issparse():
            raise ValueError(f"{path}: {member.name}: a link, device or sparse file is refused")
    except ValueError as error:
        walk.faults.add(str(error))
        return None
    whole = f"{folder}/{key}" if folder else key
    return whole, extension.lower(), Part(path, member.offset_data, member.size)


def read_small(part: Part, where: str) -> bytes:
    """Return the bytes of a label, caption or document. ValueError if it is too large for one."""
    if part.size > MAX_MEMBER:
        raise ValueError(f"{where}: {part.size:,} bytes; at most {MAX_MEMBER:,}")
    return part.read()
