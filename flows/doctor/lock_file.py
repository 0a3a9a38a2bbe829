"""A dvc.lock that is not whole: to record a stage, DVC empties the file and writes it anew, and may be killed meanwhile.

The flow's own DVC writes it whole or not at all (``flows/dvc_entries.py``); a bare ``dvc repro`` does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.core.dvc_lock import LOCK
from components.registry.record.dvc_lock import nobody_writes
from flows import dvc_entries
from flows.doctor.finding import Finding
from flows.project import Project


def cut_off(project: Project) -> Iterator[Finding]:
    """A dvc.lock that DVC refuses; what stands in its whole entries is kept."""
    path = project.folder / LOCK
    if not path.is_file():
        return
    with nobody_writes(project.folder):
        text = path.read_text(encoding="utf-8", errors="replace")
    if dvc_entries.loads(text):
        return
    kept = dvc_entries.readable(text)
    remedy = f"keeps the {len(kept)} entries that are whole; what the others said comes back from DVC's run cache, without work"
    yield Finding(f"{LOCK} cannot be read", str(path), remedy, partial(_keep_whole, project))


def _keep_whole(project: Project) -> None:
    from dvc.repo import Repo, lock_repo

    path = project.folder / LOCK
    with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
        kept = dvc_entries.readable(path.read_text(encoding="utf-8", errors="replace"))
        if kept:
            dvc_entries.replace(path, dvc_entries.join(kept), Path(repo.tmp_dir))
        else:
            path.unlink()
