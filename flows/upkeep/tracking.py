"""MLflow: records of killed processes, for the doctor; runs and models that no version refers to, for gc."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from components.core import settings
from components.registry.record.published import Publication, database, shown_uri
from flows.project import Project
from flows.upkeep.cache import HASH
from flows.upkeep.doctor import Finding
from flows.upkeep.garbage import DAY, Garbage, size_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def dead_records(project: Project) -> list[Finding]:
    """Find runs of dead processes, interrupted decisions, deleted aliases and runs, and notes that the server lacks."""
    local_database = database()
    if local_database is not None and not local_database.is_file():
        return []  # nothing was recorded, and a client would create the database
    from components.registry.tracking import connect, reachable

    with reachable():
        client = connect()
        deleted = [*_foreign_moves(client), *_deleted_runs(client)]
        return [*_dead_runs(client), *_interrupted_decisions(client), *deleted, *_wrong_notes(client)]


def _dead_runs(client: MlflowClient) -> Iterator[Finding]:
    from components.registry.record.dead import dead_runs, end, our_experiments

    for run in dead_runs(client, our_experiments(client)):
        where = f"{run.info.run_name} ({run.info.run_id}): its process is gone"
        yield Finding("dead MLflow run", where, "sets it to KILLED", partial(end, client, run))


def _interrupted_decisions(client: MlflowClient) -> Iterator[Finding]:
    """Find promotions and rollbacks that were interrupted."""
    from components.registry.model_registry import registered_models
    from components.registry.promotion.journal import MOVING, complete_all

    for model in registered_models(client):
        if MOVING in model.tags:
            yield Finding("interrupted decision", model.name, "completes it", partial(complete_all, client))


def _foreign_moves(client: MlflowClient) -> Iterator[Finding]:
    """Find aliases that somebody deleted or moved past our decisions; only deleted ones are put back."""
    from components.registry.promotion.foreign import all_foreign_moves, note, put_back

    for move in all_foreign_moves(client):
        note([move])
        if move.actual is None:
            yield Finding("deleted alias", str(move), "puts it back", partial(put_back, client, move))
        else:
            by_hand = "a promotion or rollback by `python -m flows` decides anew and records it"
            yield Finding("alias moved by hand", str(move), by_hand)


def _deleted_runs(client: MlflowClient) -> Iterator[Finding]:
    """Find deleted runs of versions that an alias names: their lineage would go with them."""
    from components.registry.promotion.foreign import deleted_runs

    for version, aliases, run_id in deleted_runs(client):
        where = f"{version.name} version {version.version} ({aliases}): its MLflow run {run_id} was deleted"
        yield Finding("deleted MLflow run", where, "restores it", partial(client.restore_run, run_id))


def _wrong_notes(client: MlflowClient) -> Iterator[Finding]:
    """Find notes of publications that the configured server lacks; these would never be published again."""
    for path in sorted((settings.WORK / "published").glob("*.json")):
        try:
            publication = Publication(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # not a publication
        if publication.tracking_uri == shown_uri() and not _has(client, path.stem, publication):
            where = f"{path}: {shown_uri()} has no version {publication.version} of {path.stem} with this run"
            yield Finding("wrong note of a publication", where, "removes the note", partial(path.unlink, missing_ok=True))


def _has(client: MlflowClient, name: str, publication: Publication) -> bool:
    from components.registry.model_registry import versions

    return any(int(version.version) == publication.version for version in versions(client, name, publication.key))


def unreferenced(client: MlflowClient, days: float) -> Iterator[Garbage]:
    """Yield runs and models of our experiments older than ``days`` to which no version, alias or evaluation refers."""
    from components.registry import model_registry as registry
    from components.registry.record.dead import our_experiments

    experiments = our_experiments(client)
    every = [version for model in registry.registered_models(client) for version in registry.versions(client, model.name)]
    yield from _runs(client, experiments, {str(version.run_id) for version in every}, days)
    yield from _models(client, experiments, {registry.model_id(version) for version in every}, days)


def _runs(client: MlflowClient, experiments: list[str], needed: set[str], days: float) -> Iterator[Garbage]:
    from components.registry.model_registry import all_runs
    from components.registry.record.clearing import purge_run
    from components.registry.record.recording import PARENT

    runs = all_runs(client, experiments)
    needed |= {run.data.tags[PARENT] for run in runs if run.info.lifecycle_stage == "active" and PARENT in run.data.tags}
    for run in runs:
        why = _why(run)
        if why and run.info.run_id not in needed and (run.info.end_time or run.info.start_time) < _milliseconds(days):
            what = f"MLflow run {run.info.run_name} ({run.info.run_id})"
            yield Garbage(what, _size(run.info.artifact_uri), why, partial(purge_run, client, run))


def _models(client: MlflowClient, experiments: list[str], needed: set[str], days: float) -> Iterator[Garbage]:
    from components.registry.record.clearing import all_models, deleted_models, purge_model

    active = [model for model in all_models(client, experiments) if model.last_updated_timestamp < _milliseconds(days)]
    for model in active:
        if model.model_id not in needed:
            what, why = f"MLflow model {model.model_id}", "no version has it"
            yield Garbage(what, _size(model.artifact_location), why, partial(purge_model, client, model, False))
    for model in deleted_models(client, experiments, days):
        if model.model_id not in needed:
            what, why = f"MLflow model {model.model_id}", "it is deleted"
            yield Garbage(what, _size(model.artifact_location), why, partial(purge_model, client, model, True))


def _milliseconds(days: float) -> float:
    """Return the time ``days`` ago in MLflow's milliseconds."""
    return (time.time() - days * DAY) * 1000


def lineage_hashes(client: MlflowClient) -> tuple[set[str], list[str]]:
    """Return all hashes in the lineages of registered versions, and the versions that have none, "name version N"."""
    from components.registry.record.lineage import registered_lineages

    hashes, unknown = set(), []
    for name, number, entries in registered_lineages(client):
        hashes |= set(HASH.findall(str(entries)))
        if entries is None:
            unknown.append(f"{name} version {number}")
    return hashes, unknown


def has_server() -> bool:
    """Whether there is a server or an existing local database; none is created for this."""
    local_database = database()
    return local_database is None or local_database.is_file()


def _why(run: Run) -> str:
    """Return why the run may be removed, or ""."""
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
    """Return the bytes of artifacts on this machine, 0 for others."""
    parts = urlparse(uri or "")
    return size_of(Path(url2pathname(parts.path))) if parts.scheme in ("", "file") and parts.path else 0
