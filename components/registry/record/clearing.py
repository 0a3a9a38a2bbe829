"""Permanent deletion of single runs and logged models; ``mlflow gc`` would remove everything that is marked as deleted.

Files are deleted first, so that the next call completes an interrupted one. On a remote server without database access, runs
and models are only marked as deleted; ``mlflow gc`` on the server's machine removes them.
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
    """Delete the logged model with its files; ``deleted``: it is already marked as deleted."""
    if not deleted:
        client.delete_logged_model(model.model_id)
    store = _own_store(client)
    if store is not None:
        delete_files(model.artifact_location)
        store._hard_delete_logged_model(model.model_id)


def all_models(client: MlflowClient, experiments: list[str]) -> list[LoggedModel]:
    """Return all logged models of the experiments that are not marked as deleted."""
    page = client.search_logged_models(experiments) if experiments else None
    models: list[LoggedModel] = list(page or [])
    while page and page.token:
        page = client.search_logged_models(experiments, page_token=page.token)
        models += page
    return models


def deleted_models(client: MlflowClient, experiments: list[str], days: float) -> list[LoggedModel]:
    """Return the experiments' models marked as deleted at least ``days`` ago; none without access to the database."""
    store = _own_store(client)
    if store is None:
        return []
    names = store._get_deleted_logged_models(older_than=int(days * DAY))
    models = [store.get_logged_model(name, allow_deleted=True) for name in names]
    return [model for model in models if model.experiment_id in experiments]


def _own_store(client: MlflowClient) -> Any | None:
    """Return the client's store if it is a database, whose rows MLflow (3.17) can delete; else None."""
    store = client._tracking_client.store
    return store if hasattr(store, "_hard_delete_run") else None
