"""``python remote.py pull|push <dvc.yaml> <stage> <remote>``: transfer one stage's results between DVC's cache and a remote.

``pull`` fetches the results for the stage's present inputs into the local cache, if the remote has them; ``dvc repro`` then
restores them without running the stage. ``push`` sends the recorded results. Both transfer only the stage's own entry of DVC's
run cache, whereas ``dvc push --run-cache`` and ``dvc repro --pull`` copy all entries each time.

What comes is checked by its hash. A wrong object is deleted on the remote, and so is the list of a folder that lacks a file:
the stage then runs here, and its push sends what the remote lacks, which DVC would otherwise take for sent.

Exit codes: 0 done, even if the remote has nothing; 2 the remote is misconfigured; 3 the remote lacks a part of the results;
75 a transient failure. A separate program,
since DVC's state is global to a process, and so that a hanging transfer can be killed. Only this package uses private names of
DVC 3.67.1.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

CONFIGURATION, INCOMPLETE, TEMPORARY = 2, 3, 75  # 75: EX_TEMPFAIL of sysexits.h
ENTRY = re.compile(r"[0-9a-f]{64}")  # name of an entry's file; killed transfers leave others


class RemoteMissing(Exception):
    """The remote's folder does not exist, or there is nothing to push."""


class RemoteIncomplete(Exception):
    """The remote lacks objects of a result, or has wrong ones."""


def main() -> int:
    """Run the command line; return the exit code."""
    logging.getLogger("dvc").setLevel(logging.ERROR)
    logging.getLogger("dvc_objects").setLevel(logging.CRITICAL)  # errors are raised, and reported below
    from dvc.config import ConfigError
    from dvc.repo import Repo

    action, file, stage, remote = sys.argv[1:]
    try:
        with Repo(os.path.dirname(file), remote=remote, _wait_for_lock=True) as repo:
            _check_exists(repo)
            {"pull": pull, "push": push}[action](repo, file, stage)
    except ConfigError as error:
        return _fail(f"remote {remote!r}: {error}", CONFIGURATION)
    except ImportError as error:
        return _fail(f"remote {remote!r}: {error}", CONFIGURATION)
    except RemoteMissing as error:
        return _fail(f"remote {remote!r}: {error}", TEMPORARY)
    except RemoteIncomplete as error:
        return _fail(f"remote {remote!r}: {error}", INCOMPLETE)
    except Exception as error:  # whatever a storage's client raises
        code = CONFIGURATION if type(error).__name__ == "RemoteMissingDepsError" else TEMPORARY
        return _fail(f"remote {remote!r}: {type(error).__name__}: {' '.join(str(error).split())[:500]}", code)
    return 0


def pull(repo: Repo, file: str, name: str) -> None:
    """Fetch the stage's entry and its objects into the local cache, if all inputs exist and the remote has them."""
    from dvc.exceptions import CollectCacheError
    from dvc.repo import lock_repo
    from dvc.stage.cache import _can_hash, _get_stage_hash

    with lock_repo(repo):
        stage = repo.stage.load_one(path=file, name=name)
        if not all(dep.exists for dep in stage.deps) or not _can_hash(stage):
            return
        is_current = not stage.changed_stage() and all(out.hash_info for out in stage.outs)
        recorded = _get_stage_hash(stage) if is_current else None
        stage.save_deps()
        key = _get_stage_hash(stage)
    result: PipelineStage | None = stage
    if recorded != key:  # dvc.lock has other inputs
        _fetch_entry(repo, key)
        entry = repo.stage_cache._load(stage)
        result = repo.stage_cache._create_stage(entry, wdir=stage.wdir) if entry else None
    try:
        objects = _objects(result) if result else set()
    except CollectCacheError:  # recorded, but neither in the cache nor on the remote
        return
    _fetch(repo, objects)


def _fetch(repo: Repo, objects: set[Any]) -> None:
    """Fetch the objects and check their hashes. Raise RemoteIncomplete, with the remote prepared for a repair, if some lack."""
    remote, cache = repo.cloud.get_remote_odb(None, "pull"), repo.cache.local
    remote.verify = True  # a wrong object is removed from the cache again
    repo.cloud.pull(objects, odb=remote)
    absent = {folder: oids for folder in objects if (oids := _absent(cache, folder))}
    if not absent:
        return
    wrong = sorted({oid for oids in absent.values() for oid in oids if remote.exists(oid)})
    missing = sorted({oid for oids in absent.values() for oid in oids} - set(wrong))
    for oid in [*wrong, *(folder.value for folder in absent if folder.isdir)]:
        if remote.exists(oid):
            remote.fs.remove(remote.oid_to_path(oid))
    parts = [
        f"{len(oids)} {what} ({oids[0]})" for what, oids in (("wrong objects", wrong), ("missing objects", missing)) if oids
    ]
    raise RemoteIncomplete(f"{' and '.join(parts)}; the wrong ones are deleted there")


def _absent(cache: Any, item: Any) -> list[str]:
    """Return the hashes of the object, and of a folder's files, that the cache lacks."""
    from dvc_data.hashfile.tree import Tree

    if not cache.exists(item.value):
        return [item.value]
    files = [entry.value for _, _, entry in Tree.load(cache, item)] if item.isdir else []
    return [oid for oid in dict.fromkeys(files) if not cache.exists(oid)]


def push(repo: Repo, file: str, name: str) -> None:
    """Send the objects in dvc.lock, then the entry: other clones that see the entry find its objects."""
    from dvc.repo import lock_repo
    from dvc.stage.cache import _can_hash, _get_stage_hash

    with lock_repo(repo):
        stage: PipelineStage = repo.stage.load_one(path=file, name=name)
        if not all(out.hash_info for out in stage.outs):
            raise RemoteMissing(f"dvc.lock has no results of {name}")
        key = _get_stage_hash(stage) if _can_hash(stage) else None
    if repo.cloud.push(_objects(stage)).failed:
        raise OSError(f"not all of {name} went")
    if key:
        _send_entry(repo, key)


def _objects(stage: PipelineStage) -> set[Any]:
    return {item for items in stage.get_used_objs().values() for item in items}


def _check_exists(repo: Repo) -> None:
    """Raise RemoteMissing if the remote's folder does not exist: DVC would create it, perhaps below a mount point."""
    remote = repo.cloud.get_remote()
    if remote.fs.protocol == "local" and not os.path.isdir(remote.path):
        raise RemoteMissing(f"there is no folder {remote.path}; make it, or mount what it is on")


def _fetch_entry(repo: Repo, key: str) -> None:
    remote = _runs(repo)
    if remote is None or os.path.isdir(repo.stage_cache._get_cache_dir(key)):
        return
    place = remote.fs.join(remote.path, "runs", key[:2], key)
    _copy(remote.fs, place, repo.cache.legacy.fs, repo.stage_cache._get_cache_dir(key))


def _send_entry(repo: Repo, key: str) -> None:
    remote = _runs(repo)
    if remote is not None:
        place = remote.fs.join(remote.path, "runs", key[:2], key)
        _copy(repo.cache.legacy.fs, repo.stage_cache._get_cache_dir(key), remote.fs, place)


def _runs(repo: Repo) -> Any:
    """Return the remote's store of run cache entries; None for http, which DVC cannot list."""
    from dvc.fs import HTTPFileSystem

    store = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
    return None if isinstance(store.fs, HTTPFileSystem) else store


def _copy(source: Any, origin: str, target: Any, goal: str) -> None:
    """Copy the entries in one folder, each atomically."""
    from dvc.fs import generic

    if not source.exists(origin):
        return
    for path in source.find(origin):
        name = source.name(path)
        if ENTRY.fullmatch(name) and not target.exists(target.join(goal, name)):
            generic.copy(source, path, target, target.join(goal, name))


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
