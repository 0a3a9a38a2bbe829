"""What is installed against requirements.lock, and state databases against what is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from components.registry.record.published import database
from flows.doctor.finding import Finding
from flows.preflight import LOCK, wrong_versions
from flows.project import Project

# Where a tool keeps its migrations, a file a revision; read, not imported.
PREFECT = ("prefect", "server/database/_migrations/versions/sqlite")
MLFLOW = ("mlflow", "store/db_migrations/versions")


def versions(project: Project) -> Iterator[Finding]:
    """Every package whose installed version is not the locked one."""
    path = project.root / LOCK
    for line in wrong_versions(path):
        yield Finding("wrong version", line, f"python -m pip install --requirement {path}")


def databases(project: Project) -> Iterator[Finding]:
    """State databases that today's Prefect or MLflow cannot use, since another version made them."""
    home = Path(os.environ["PREFECT_HOME"])
    for path, (package, folder) in {home / "prefect.db": PREFECT, database(): MLFLOW}.items():
        if path is None or not path.is_file():
            continue
        aside = f"install the version that made it, or move {path.parent} away: a new one is made, and its history is not in it"
        try:
            revision = _revision(path)
        except sqlite3.DatabaseError as error:
            yield Finding("database cannot be read", str(path), f"{error}; {aside}")
            continue
        if revision is not None and revision not in _known(package, folder):
            yield Finding("database of another version", f"{path}: {package} does not know its revision {revision}", aside)


def _revision(path: Path) -> str | None:
    """The migration that the database stands at; None in one that is only being made."""
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:  # writes nothing beside it, and takes no lock
        if not connection.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone():
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
    return str(row[0]) if row else None


def _known(package: str, folder: str) -> set[str]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    files = (Path(spec.submodule_search_locations[0]) / folder).glob("*.py")
    found = (
        re.search(r"^revision(?:: str)? = [\"'](\w+)[\"']", path.read_text(encoding="utf-8"), re.MULTILINE) for path in files
    )
    return {match[1] for match in found if match}
