"""Deleting runs and logged models for good, each by itself: ``mlflow gc`` would take all that is marked as deleted.

Files go first, so that an interrupted call is found and completed by the next. A server that keeps its database to itself only
marks them as deleted; there ``mlflow gc`` beside the server does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.registry.model_registry import delete_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

DAY = 86_400_000  # milliseconds


def purge_run(client: MlflowClient, run: Run) -> None:
    """Delete the run with its files."""
    if run.info.lifecycle_stage != "deleted":
        client.delete_run(run.info.run_id)
    store = _own_store(client)
    if store is not None:
        delete_files(run.info.artifact_uri)
        store._hard_delete_run(run.info.run_id)


def purge_model(client: MlflowClient, model: LoggedModel, deleted: bool) -> None:
    """Delete the logged model with its files; ``deleted``: it is marked so already."""
    if not deleted:
        client.delete_logged_model(model.model_id)
    store = _own_store(client)
    if store is not None:
        delete_files(model.artifact_location)
        store._hard_delete_logged_model(model.model_id)


def all_models(client: MlflowClient, experiments: list[str]) -> list[LoggedModel]:
    """Every logged model of the experiments that is not marked as deleted."""
    page = client.search_logged_models(experiments) if experiments else None
    found: list[LoggedModel] = list(page or [])
    while page and page.token:
        page = client.search_logged_models(experiments, page_token=page.token)
        found += page
    return found


def deleted_models(client: MlflowClient, experiments: list[str], days: float) -> list[LoggedModel]:
    """Logged models of the experiments, marked as deleted for ``days``; none where the server does not show them."""
    store = _own_store(client)
    if store is None:
        return []
    names = store._get_deleted_logged_models(older_than=int(days * DAY))
    found = [store.get_logged_model(name, allow_deleted=True) for name in names]
    return [model for model in found if model.experiment_id in experiments]


def _own_store(client: MlflowClient) -> Any | None:
    """The store behind the client where that is a database, of which MLflow (3.17) lets rows be removed; else None."""
    store = client._tracking_client.store
    return store if hasattr(store, "_hard_delete_run") else None
