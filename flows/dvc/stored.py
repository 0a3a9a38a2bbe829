"""Results as a commit recorded them: entries of its dvc.lock, and files from DVC's cache or its remote."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from components.core.config.strict import SettingsError
from components.core.dvc_lock import LOCK, find_entries, parse_entry
from flows.project import Project


class NotStored(Exception):
    """A file of a recorded result is neither in DVC's cache nor on its remote."""


@dataclass(frozen=True)
class Stored:
    """The files of recorded folders. ``repo``: DVC's."""

    repo: Any

    def files(self, digest: str) -> dict[str, str]:
        """Map the files of a folder, whose ``digest`` ends with ".dir", to their digests; raise NotStored."""
        listed = json.loads(self.path(digest).read_text(encoding="utf-8"))
        return {entry["relpath"]: entry["md5"] for entry in listed}

    def path(self, digest: str) -> Path:
        """Return the file's place in the cache, into which it is fetched if the default remote has it; raise NotStored."""
        cache = self.repo.cache.local
        path = Path(cache.oid_to_path(digest))
        if not path.is_file():
            self._fetch(cache, digest)
        return path

    def _fetch(self, cache: Any, digest: str) -> None:
        from dvc.exceptions import DvcException

        try:
            remote = self.repo.cloud.get_remote_odb(None, "fetch")
            if not remote.exists(digest):
                raise NotStored(f"{digest} is neither in DVC's cache nor on its remote")
            cache.add(remote.oid_to_path(digest), remote.fs, digest)
        except (DvcException, OSError) as error:  # no remote, or it cannot be reached
            raise NotStored(f"{digest} is not in DVC's cache, and {error}") from None


@contextmanager
def stored(project: Project) -> Iterator[Stored]:
    """Open the project's DVC repository."""
    logging.getLogger("dvc").setLevel(logging.ERROR)
    from dvc.repo import Repo

    with Repo(str(project.root)) as repo:
        yield Stored(repo)


def commit_of(project: Project, revision: str, argument: str) -> str:
    """Return the full hash of the commit; SettingsError, naming the ``argument``, if there is none."""
    try:
        return _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except subprocess.CalledProcessError:
        raise SettingsError(f"{argument}: {revision!r} is no commit of this repository") from None


def recorded_outs(project: Project, commit: str, stage: str) -> Mapping[str, str]:
    """Map the outs of a stage to their digests, as the commit's dvc.lock has them; empty if it has no such stage."""
    try:
        text = _git(project, "show", f"{commit}:./{LOCK}")
    except subprocess.CalledProcessError:
        return {}
    lines = find_entries(text).get(stage)
    try:
        entry = parse_entry(lines) if lines else {}
    except YAMLError as error:
        raise SettingsError(f"{commit[:12]}: {LOCK} is not readable: {' '.join(str(error).split())}") from None
    return outs_of(entry)


def outs_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """Map the outs of an entry of dvc.lock to their digests."""
    return {out["path"]: out["md5"] for out in entry.get("outs", ()) if "md5" in out}


def _git(project: Project, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True, timeout=60).stdout
