"""What the tracking server still believes of killed processes, and what is believed of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from components.core import settings
from components.registry.record.published import Published, database, shown_uri
from flows.doctor.finding import Finding
from flows.project import Project

if TYPE_CHECKING:
    from mlflow import MlflowClient


def dead_records(project: Project) -> list[Finding]:
    """MLflow runs of dead processes, decisions half carried out, and notes of publications that the server has not."""
    own = database()
    if own is not None and not own.is_file():
        return []  # nothing was ever recorded, and a client would make the database
    from components.registry.tracking import connect, reachable

    with reachable():
        client = connect()
        return [*_dead_runs(client), *_half_carried_out(client), *_notes_of_nothing(client)]


def _dead_runs(client: MlflowClient) -> Iterator[Finding]:
    from components.registry.record.dead import dead_runs, end, our_experiments

    for run in dead_runs(client, our_experiments(client)):
        where = f"{run.info.run_name} ({run.info.run_id}): its process is gone"
        yield Finding("dead MLflow run", where, "calls it KILLED", partial(end, client, run))


def _half_carried_out(client: MlflowClient) -> Iterator[Finding]:
    """A promotion or rollback that was noted whole and not finished."""
    from components.registry.model_registry import registered_models
    from components.registry.promotion.journal import MOVING, complete_all

    for model in registered_models(client):
        if MOVING in model.tags:
            yield Finding("decision half carried out", model.name, "completes it", partial(complete_all, client))


def _notes_of_nothing(client: MlflowClient) -> Iterator[Finding]:
    """What this workspace takes for published, though today's server does not have it: it would never be published again."""
    for path in sorted((settings.WORK / "published").glob("*.json")):
        try:
            noted = Published(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # never taken for a publication
        if noted.tracking_uri == shown_uri() and not _has(client, path.stem, noted):
            where = f"{path}: {shown_uri()} has no version {noted.version} of {path.stem} with this run"
            yield Finding("noted as published, and is not", where, "removes the note", partial(path.unlink, missing_ok=True))


def _has(client: MlflowClient, name: str, noted: Published) -> bool:
    from components.registry.model_registry import versions

    return any(int(version.version) == noted.version for version in versions(client, name, noted.key))
