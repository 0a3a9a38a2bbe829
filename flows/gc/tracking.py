"""MLflow: deleted runs, live runs that were never published, logged models that never became a version."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from components.core import settings
from components.registry.record.published import database
from flows.gc.cache import HASH
from flows.gc.waste import DAY, Waste, size_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def unreferenced(client: MlflowClient, days: float) -> Iterator[Waste]:
    """Runs and models of our experiments older than ``days`` to which no version, alias or evaluation refers."""
    from components.registry import model_registry as registry
    from components.registry.record.dead import our_experiments

    experiments = our_experiments(client)
    every = [version for model in registry.registered_models(client) for version in registry.versions(client, model.name)]
    yield from _runs(client, experiments, {str(version.run_id) for version in every}, days)
    yield from _models(client, experiments, {registry.model_id(version) for version in every}, days)


def _runs(client: MlflowClient, experiments: list[str], kept: set[str], days: float) -> Iterator[Waste]:
    from components.registry.model_registry import all_runs
    from components.registry.record.clearing import purge_run
    from components.registry.record.recording import PARENT

    runs = all_runs(client, experiments)
    kept |= {run.data.tags[PARENT] for run in runs if run.info.lifecycle_stage == "active" and PARENT in run.data.tags}
    for run in runs:
        why = _why(run)
        if why and run.info.run_id not in kept and (run.info.end_time or run.info.start_time) < _milliseconds(days):
            what = f"MLflow run {run.info.run_name} ({run.info.run_id})"
            yield Waste(what, _size(run.info.artifact_uri), why, partial(purge_run, client, run))


def _models(client: MlflowClient, experiments: list[str], kept: set[str], days: float) -> Iterator[Waste]:
    from components.registry.record.clearing import all_models, deleted_models, purge_model

    active = [model for model in all_models(client, experiments) if model.last_updated_timestamp < _milliseconds(days)]
    for model in active:
        if model.model_id not in kept:
            what, why = f"MLflow model {model.model_id}", "no version has it"
            yield Waste(what, _size(model.artifact_location), why, partial(purge_model, client, model, False))
    for model in deleted_models(client, experiments, days):
        if model.model_id not in kept:
            what, why = f"MLflow model {model.model_id}", "it is deleted"
            yield Waste(what, _size(model.artifact_location), why, partial(purge_model, client, model, True))


def _milliseconds(days: float) -> float:
    """The moment ``days`` ago, as MLflow counts."""
    return (time.time() - days * DAY) * 1000


def lineage_hashes(client: MlflowClient) -> set[str]:
    """Every hash that the lineage of a registered version names."""
    from components.registry.record.lineage import registered_lineages

    return {found for _, _, entries in registered_lineages(client) for found in HASH.findall(str(entries))}


def has_server() -> bool:
    """Whether there is anything to ask: the own database is not made for this."""
    own = database()
    return own is None or own.is_file()


def _why(run: Run) -> str:
    """Why the run may go, or nothing."""
    from components.core.files import is_gone
    from components.registry.model_registry import KEY
    from components.registry.record.dead import PROCESS
    from components.registry.record.recording import FINGERPRINT, LIVE

    if run.info.lifecycle_stage == "deleted":
        return "it is deleted"
    if LIVE not in run.data.tags or KEY in run.data.tags:
        return ""
    if run.info.status == "RUNNING" and not is_gone(run.data.tags.get(PROCESS, "")):
        return ""
    resumable = list((settings.WORK / "checkpoints").glob(f"*/{run.data.tags.get(FINGERPRINT, 'none')}"))
    return "" if resumable else "its training was never finished and published"


def _size(uri: str | None) -> int:
    """Bytes of the artifacts, where they lie on this machine."""
    parts = urlparse(uri or "")
    return size_of(Path(url2pathname(parts.path))) if parts.scheme in ("", "file") and parts.path else 0
