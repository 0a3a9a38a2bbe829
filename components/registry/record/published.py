"""Local records of publications, so that a plan takes milliseconds. Does not import MLflow."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.errors import redacted
from components.core.files import write_json
from components.core.settings import Workspace
from components.registry.record.dvc_lock import content_key, export_key_by


@dataclass(frozen=True)
class Publication:
    """A published run. ``key`` identifies the export, ``evaluation`` its metrics with their settings.

    ``tracking_uri`` contains no password. ``detection`` identifies the table of out-of-distribution views, "" if there is none.
    """

    key: str
    evaluation: str
    tracking_uri: str
    version: int
    run_id: str
    detection: str = ""
    entry: str = ""  # digest of the export's lines in dvc.lock, from which ``key`` was made


def store() -> Path:
    """Return the folder of the local tracking database and its artifacts, one per MLflow version: migrations are one-way."""
    return settings.WORK / f"mlflow-{version('mlflow')}"


def database() -> Path | None:
    """Return the local tracking database, or None if ``MLFLOW_TRACKING_URI`` names another."""
    path = store() / "mlflow.db"
    return path if tracking_uri() == f"sqlite:///{path}" else None


def tracking_uri() -> str:
    """Return ``MLFLOW_TRACKING_URI``, or the absolute address of the local database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store() / 'mlflow.db'}"


def shown_uri() -> str:
    """Return the tracking URI without its password, for output and files."""
    return redacted(tracking_uri())


def evaluation_key(workspace: Workspace, run: str) -> str:
    """Return the key of an evaluation: the hash of the metrics and of the evaluation settings."""
    path = workspace.folder / "outputs" / "evaluate" / run / "metrics.json"
    if not path.is_file():
        raise SettingsError(f"outputs/evaluate/{run}/metrics.json: no such file; `dvc repro evaluate@{run}` makes it")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return content_key({"metrics": metrics, "evaluate": workspace.params.runs[run].evaluate})


def detection_key(workspace: Workspace, run: str) -> str:
    """Return the key of the table of out-of-distribution views: the hash of its rows; "" for a run without such views."""
    name = workspace.detection_of(run)
    if name is None or not workspace.ood(name):
        return ""
    path = workspace.folder / "outputs" / "ood_table" / name / "report" / "ood.csv"
    if not path.is_file():
        raise SettingsError(f"{path.relative_to(workspace.folder)}: no such file; `dvc repro ood_table@{name}` makes it")
    return content_key({"table": path.read_text(encoding="utf-8")})


def published(workspace: Workspace, run: str) -> Publication | None:
    """Return the run's publication if the present export and evaluation are on the configured server, else None."""
    path = marker(workspace, run)
    local_database = database()
    if not path.is_file() or (local_database and not local_database.is_file()):
        return None
    try:
        record = Publication(**json.loads(path.read_text(encoding="utf-8")))
        key, digest = export_key_by(workspace, run, {record.entry: record.key})  # parsing takes milliseconds
        keys = (key, evaluation_key(workspace, run), detection_key(workspace, run))
    except (ValueError, TypeError):  # a marker of another version, or missing outs
        return None
    if (record.key, record.evaluation, record.detection, record.tracking_uri) != (*keys, shown_uri()):
        return None
    if record.entry != digest:
        note_published(workspace, run, replace(record, entry=digest))
    return record


def note_published(workspace: Workspace, run: str, record: Publication) -> None:
    """Write ``record`` for ``published``."""
    write_json(marker(workspace, run), asdict(record))


def marker(workspace: Workspace, run: str) -> Path:
    """Return the file that records the run's last publication."""
    return settings.WORK / "published" / f"{workspace.registered_name(run)}.json"
