"""What is published, answered from files alone: imports no MLflow and takes milliseconds."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from components.core import settings
from components.core.errors import redacted
from components.core.files import write_json
from components.core.settings import Workspace
from components.core.strict import SettingsError
from components.registry.record.dvc_lock import content_key, export_key


@dataclass(frozen=True)
class Publication:
    """A run as MLflow holds it. ``key`` identifies the export, ``evaluation`` its metrics with their settings.

    ``tracking_uri``: without a password. ``detection`` identifies the table of out-of-distribution views, "" for none.
    """

    key: str
    evaluation: str
    tracking_uri: str
    version: int
    run_id: str
    detection: str = ""


def store() -> Path:
    """The folder of the own tracking database and its artifacts, one a version: databases do not go backwards."""
    return settings.WORK / f"mlflow-{version('mlflow')}"


def database() -> Path | None:
    """The own tracking database, or None where ``MLFLOW_TRACKING_URI`` names another."""
    path = store() / "mlflow.db"
    return path if tracking_uri() == f"sqlite:///{path}" else None


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the absolute address of the own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store() / 'mlflow.db'}"


def shown_uri() -> str:
    """The same without its password: what is shown, and what is written."""
    return redacted(tracking_uri())


def evaluation_key(workspace: Workspace, run: str) -> str:
    """What identifies an evaluation: the hash of the metrics and of the settings that they were made with."""
    path = workspace.folder / "outputs" / "evaluate" / run / "metrics.json"
    if not path.is_file():
        raise SettingsError(f"outputs/evaluate/{run}/metrics.json: no such file; `dvc repro evaluate@{run}` makes it")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return content_key({"metrics": metrics, "evaluate": workspace.params.runs[run].evaluate})


def detection_key(workspace: Workspace, run: str) -> str:
    """What identifies the table of out-of-distribution views: the hash of its rows; "" for a run without such views."""
    name = workspace.detection_of(run)
    if name is None or not workspace.ood(name):
        return ""
    path = workspace.folder / "outputs" / "ood_table" / name / "report" / "ood.csv"
    if not path.is_file():
        raise SettingsError(f"{path.relative_to(workspace.folder)}: no such file; `dvc repro ood_table@{name}` makes it")
    return content_key({"table": path.read_text(encoding="utf-8")})


def published(workspace: Workspace, run: str) -> Publication | None:
    """The run's record where today's export and evaluation are published to today's tracking server, else None."""
    path = marker(workspace, run)
    own = database()
    if not path.is_file() or (own and not own.is_file()):
        return None
    try:
        found = Publication(**json.loads(path.read_text(encoding="utf-8")))
        keys = (export_key(workspace, run), evaluation_key(workspace, run), detection_key(workspace, run))
    except (ValueError, TypeError):  # a marker of another version, or outs that are not all there
        return None
    return found if (found.key, found.evaluation, found.detection, found.tracking_uri) == (*keys, shown_uri()) else None


def note_published(workspace: Workspace, run: str, record: Publication) -> None:
    """Remember ``record``, for ``published``."""
    write_json(marker(workspace, run), asdict(record))


def marker(workspace: Workspace, run: str) -> Path:
    """Where the run's last publication is remembered."""
    return settings.WORK / "published" / f"{workspace.registered_name(run)}.json"
