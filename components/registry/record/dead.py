"""Runs that say RUNNING though the process that wrote them is gone: of live logging, of publications, of evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.core.files import is_gone

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PROCESS = "darkroom.process"  # tag of a run that is being written: host, pid and start of the process
PAGE = 1000


def our_experiments(client: MlflowClient) -> list[str]:
    """The ids of the experiments of the root and of every study."""
    found = [client.get_experiment_by_name("darkroom"), *client.search_experiments(filter_string="name LIKE 'darkroom/%'")]
    return [str(experiment.experiment_id) for experiment in found if experiment is not None]


def dead_runs(client: MlflowClient, experiments: list[str]) -> list[Run]:
    """Those of the experiments, oldest first. One of another machine, or that names no process, is not among them."""
    found = client.search_runs(
        experiments, "attributes.status = 'RUNNING'", order_by=["attributes.start_time ASC"], max_results=PAGE
    )
    return [run for run in found if is_gone(run.data.tags.get(PROCESS, ""))]


def end(client: MlflowClient, run: Run) -> None:
    """Call it KILLED, unless someone has gone on with it meanwhile; the same training, or publication, may still resume it."""
    now = client.get_run(run.info.run_id)
    if now.info.status == "RUNNING" and is_gone(now.data.tags.get(PROCESS, "")):
        client.set_terminated(run.info.run_id, "KILLED")
