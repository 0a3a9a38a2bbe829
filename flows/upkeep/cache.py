"""Garbage in DVC's cache: objects in no dvc.lock of the workspace, of any commit, or of a registered version's lineage.

``dvc gc`` does not know the registered versions, and does not clean the run cache.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.core.git import git, git_or_none
from flows.project import Project
from flows.upkeep.garbage import DAY, Garbage

HASH = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?")
NAMES = ("dvc.lock", "*.dvc")  # files with hashes of objects in the cache
SKIPPED_FOLDERS = {".git", ".dvc", ".venv", ".work", "outputs"}


def unused_cache(project: Project, days: float, lineages: set[str]) -> Iterator[Garbage]:
    """Yield unused run cache entries first, then folders, then files, so that an interrupted removal leaves no dangling ones.

    ``lineages``: hashes in the lineages of registered versions. A cache outside the clone is shared, and not cleaned.
    """
    objects, runs = project.root / ".dvc/cache/files/md5", project.root / ".dvc/cache/runs"
    used = used_hashes(project.root) | lineages
    used |= {child for name in used if name.endswith(".dir") for child in _children(objects, name)}
    before = time.time() - days * DAY
    unused = [path for path in sorted(objects.glob("??/*")) if _name(path) not in used and path.stat().st_mtime < before]
    unused_names = {_name(path) for path in unused}
    for entry in sorted(runs.glob("??/*/*")):
        if unused_names & set(HASH.findall(entry.read_text(encoding="utf-8").partition("outs:")[2])):
            yield _garbage(project, entry, "its results go too")
    for path in sorted(unused, key=lambda path: not path.name.endswith(".dir")):
        yield _garbage(project, path, "no dvc.lock of the workspace, of a commit or of a registered version names it")


def is_shared(project: Project) -> Path | None:
    """Return the path of DVC's cache if it is outside the clone, else None."""
    from dvc.repo import Repo

    with Repo(str(project.root)) as repo:
        place = Path(repo.cache.local.path)
    return None if project.root / ".dvc" in place.parents else place


def used_hashes(root: Path) -> set[str]:
    """Return all hashes in the workspace, the index and the commits; anything that looks like a hash counts."""
    texts = [path.read_text(encoding="utf-8") for path in _files(root)]
    return {digest for text in (*texts, _committed(root)) for digest in HASH.findall(text)}


def _files(root: Path) -> Iterator[Path]:
    for name in NAMES:
        for path in root.rglob(name):
            if path.is_file() and not SKIPPED_FOLDERS & set(path.relative_to(root).parts):
                yield path


def _committed(root: Path) -> str:
    """Return their text in all commits reachable from branches, tags, stash and reflog, and in the index."""
    if git_or_none(root, "rev-parse", "--git-dir") is None:
        return ""
    anywhere = [f":(glob)**/{name}" for name in NAMES]
    listed = git(root, "rev-list", "--all", "--reflog", "--full-history", "--objects", "--", *anywhere).splitlines()
    objects = {line.split()[0] for line in listed if line.endswith((".dvc", "dvc.lock"))}
    objects |= {line.split()[1] for line in git(root, "ls-files", "--stage", "--", *anywhere).splitlines()}
    return git(root, "cat-file", "--batch", text="".join(f"{name}\n" for name in sorted(objects)))


def _children(objects: Path, name: str) -> set[str]:
    """Return the hashes of a folder's files; empty if the cache lacks the folder's object."""
    path = objects / name[:2] / name[2:]
    return {entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else set()


def _name(path: Path) -> str:
    return path.parent.name + path.name


def _garbage(project: Project, path: Path, why: str) -> Garbage:
    return Garbage(str(path.relative_to(project.root)), path.stat().st_size, why, partial(path.unlink, missing_ok=True))
