"""Damaged files of the state folder, databases of another version, and wrong installed versions."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from components.core import settings
from components.core.files import is_gone
from components.registry.record.published import database
from components.versions import LOCK, wrong_versions
from flows.dvc import merge_driver
from flows.project import Project
from flows.services.running import is_supervised, read_state, state_file
from flows.upkeep.doctor import Finding, RepairFailed

JSON = ("published/*.json", "live/*.json", "latency/*.json", "up/*.json", "scores/**/*.json")


# Folder of a package's migrations, one file per revision; read, not imported.
PREFECT = ("prefect", "server/database/_migrations/versions/sqlite")
MLFLOW = ("mlflow", "store/db_migrations/versions")


def broken_state(project: Project) -> Iterator[Finding]:
    """Find damaged notes: publications, live curves, latency, scores."""
    for pattern in JSON:
        for path in sorted(settings.WORK.glob(pattern)):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except ValueError as error:
                where = f"{path}: {error}"
                yield Finding("broken note", where, "removes it; it is written anew", partial(path.unlink, missing_ok=True))


def broken_checkpoints(project: Project) -> Iterator[Finding]:
    """Find damaged checkpoints, by the checksums of the zip archive."""
    for path in sorted((settings.WORK / "checkpoints").glob("*/*/*.pt")):
        try:
            fault = _fault(path)
        except FileNotFoundError:  # removed by its running training
            continue
        if fault:
            older = len(list(path.parent.glob("*.pt"))) - 1
            remedy = "removes it; the training goes on from the one before" if older else "removes it; the training starts anew"
            yield Finding("broken checkpoint", f"{path}: {fault}", remedy, partial(path.unlink, missing_ok=True))


def _fault(path: Path) -> str | None:
    """Return the fault of a torch file, which is a zip archive, without unpickling it."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except zipfile.BadZipFile as error:
        return str(error)
    return f"{member} is damaged" if member else None


def servers(project: Project) -> Iterator[Finding]:
    """Find a state file of servers that cannot be read or whose supervisor is gone."""
    if not state_file().is_file() or is_supervised():  # a running supervisor rewrites a damaged file
        return
    state = read_state()
    if state is None:
        yield Finding("note of the servers cannot be read", str(state_file()), "removes it", state_file().unlink)
    elif is_gone(state.supervisor):
        where = f"{state_file()}: supervisor {state.supervisor} is gone"
        yield Finding("stale note of the servers", where, "removes the note", state_file().unlink)


def versions(project: Project) -> Iterator[Finding]:
    """Find packages whose installed version is not the locked one."""
    path = project.root / LOCK
    for line in wrong_versions(path):
        yield Finding("wrong version", line, f"python -m pip install --requirement {path}")


def no_merge_driver(project: Project) -> Iterator[Finding]:
    """Find a clone without the merge driver: line-by-line merges of dvc.lock conflict even for different stages."""
    if not merge_driver.installed(project.root):
        where = f"{project.root}: Git has no merge driver for dvc.lock"
        yield Finding("no merge driver", where, "installs it", partial(_install_merge_driver, project.root))


def _install_merge_driver(root: Path) -> None:
    merge_driver.install(root)
    if not merge_driver.installed(root):
        raise RepairFailed("`git config --local` cannot write; is .git read-only, or did a killed Git leave .git/config.lock?")


def databases(project: Project) -> Iterator[Finding]:
    """Find databases that the installed Prefect or MLflow cannot use, since another version created them."""
    home = Path(os.environ["PREFECT_HOME"])
    for path, (package, folder) in {home / "prefect.db": PREFECT, database(): MLFLOW}.items():
        if path is None or not path.is_file():
            continue
        aside = f"install the version that created it, or move {path.parent} away to start with an empty one"
        try:
            revision = _revision(path)
        except sqlite3.DatabaseError as error:
            yield Finding("database cannot be read", str(path), f"{error}; {aside}")
            continue
        if revision is not None and revision not in _known(package, folder):
            yield Finding("database of another version", f"{path}: {package} does not know its revision {revision}", aside)


def _revision(path: Path) -> str | None:
    """Return the revision of the database; None if it is being created."""
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:  # creates no files beside it and takes no lock
        if not connection.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone():
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
    return str(row[0]) if row else None


def _known(package: str, folder: str) -> set[str]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    files = (Path(spec.submodule_search_locations[0]) / folder).glob("*.py")
    matches = (
        re.search(r"^revision(?:: str)? = [\"'](\w+)[\"']", path.read_text(encoding="utf-8"), re.MULTILINE) for path in files
    )
    return {match[1] for match in matches if match}
