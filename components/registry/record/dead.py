"""MLflow runs in the state RUNNING whose process is gone: live logging, publications, evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.core.files import is_gone

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PROCESS = "darkroom.process"  # tag of a run in progress: host, pid and start time of its process
PAGE = 1000


def our_experiments(client: MlflowClient) -> list[str]:
    """Return the ids of the experiments of the root and all studies."""
    studies = client.search_experiments(filter_string="name LIKE 'darkroom/%'")
    experiments = [client.get_experiment_by_name("darkroom"), *studies]
    return [str(experiment.experiment_id) for experiment in experiments if experiment is not None]


def dead_runs(client: MlflowClient, experiments: list[str]) -> list[Run]:
    """Return the dead runs of the experiments, oldest first; runs of other machines or without a process tag are left out."""
    running = client.search_runs(
        experiments, "attributes.status = 'RUNNING'", order_by=["attributes.start_time ASC"], max_results=PAGE
    )
    return [run for run in running if is_gone(run.data.tags.get(PROCESS, ""))]


def end(client: MlflowClient, run: Run) -> None:
    """Set the run to KILLED, unless it was resumed meanwhile. The same training or publication may still resume it."""
    now = client.get_run(run.info.run_id)
    if now.info.status == "RUNNING" and is_gone(now.data.tags.get(PROCESS, "")):
        client.set_terminated(run.info.run_id, "KILLED")
