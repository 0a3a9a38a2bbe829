"""MLflow tracking: connect to the server, and ``publish`` the results of a run: record them and register the model, once.

Everything is rebuilt from the outs, dvc.lock and params.yaml, and every run is looked up by a key. So the next call, here or on
another machine, completes one that was interrupted between any two steps.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import settings
from components.core.errors import Unavailable, redacted
from components.core.files import locked
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.record.live import live_curves
from components.registry.record.outs import Point, RunOutputs
from components.registry.record.published import (
    Publication,
    database,
    detection_key,
    note_published,
    published,
    shown_uri,
    tracking_uri,
)
from components.registry.record.recording import record_detection, record_evaluation, record_run, sweep

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["Publication", "Server", "TrackingUnavailable", "connect", "live_curves", "publish", "published"]

ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # it would put the current folder's uv.lock into every model
}
REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"}
UNAVAILABLE = {"TEMPORARILY_UNAVAILABLE", *REFUSED}
POINTS_A_REQUEST, PARAMS_A_REQUEST = 1000, 100  # MLflow's limits


class TrackingUnavailable(Unavailable):
    """The tracking server does not answer, or denies access."""


class TrackingRefused(TrackingUnavailable):
    """The tracking server denies access. Not transient."""

    transient = False


def publish(workspace: Workspace, run: str, detection: bool = True) -> Publication:
    """Record the run and its evaluation in MLflow and register its model. Idempotent: existing records are reused.

    ``detection``: also record the table of out-of-distribution views, which does not exist yet when the evaluate stage
    publishes. The alias ``candidate`` is set to the version of today's export. Raises SettingsError if outs or their entries
    in dvc.lock are missing, TrackingUnavailable if the server does not answer.
    """
    outs = RunOutputs.of(workspace, run)
    # MLflow has no find-or-create: without the lock two calls at once make two runs.
    with locked(settings.WORK / "locks" / f"publish-{outs.name}"), reachable():
        server = Server.of(workspace)
        run_id = record_run(server, outs)
        version = registry.register(server.client, outs.name, outs.key, run_id, outs.export)
        record_evaluation(server, outs, run_id, version)
        table = detection_key(workspace, run) if detection else ""
        if table:
            record_detection(server, outs, run_id, table)
        registry.set_alias(server.client, outs.name, "candidate", int(version.version))
        sweep(server)
        record = Publication(outs.key, outs.evaluation, shown_uri(), int(version.version), run_id, table)
        note_published(workspace, run, record)
    return record


# -------------------------------------------------------------------------------------------------------------- connecting


def connect() -> MlflowClient:
    """Return a client of the configured tracking server; create the local database on first use."""
    prepare_environment()
    uri, user_uri, local_database = tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI"), database()
    if local_database:
        make_database(local_database)
    import mlflow

    # Registering and loading use the global URI. MLflow also sets it in the environment, which children would inherit.
    mlflow.set_tracking_uri(uri)
    if user_uri is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    return mlflow.MlflowClient(tracking_uri=uri)


def prepare_environment() -> None:
    """Set MLflow's environment before its import: no telemetry, little output, short timeouts. The user's values stay."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # even if the user allows it: unpickling runs arbitrary code


def make_database(path: Path) -> None:
    """Create the database if it is missing; under a lock, since concurrent migrations of a new file all fail."""
    if path.is_file():
        return
    with locked(path.parent / "lock"):
        if path.is_file():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        SqlAlchemyStore(f"sqlite:///{part}", str(path.parent / "artifacts")).engine.dispose()
        part.replace(path)


@contextmanager
def reachable() -> Iterator[None]:
    """Raise TrackingUnavailable instead of the errors of a server that cannot be reached."""
    prepare_environment()
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (MlflowException, RequestException, OperationalError) as error:
        refused = not isinstance(error, MlflowException) or error.error_code in UNAVAILABLE
        if not refused and not str(error).startswith("API request to"):
            raise
        reason = redacted(" ".join(str(error).rpartition("Caused by ")[2].split()))[:300]
        kind = TrackingRefused if getattr(error, "error_code", "") in REFUSED else TrackingUnavailable
        raise kind(f"tracking server {shown_uri()} is not available: {reason}") from error


def login() -> str:
    """Return the login name of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a uid without a name
        return "unknown"


@dataclass(frozen=True)
class Server:
    """One experiment of the tracking server, with the operations that recording needs."""

    client: MlflowClient
    experiment: str

    @classmethod
    def of(cls, workspace: Workspace) -> Server:
        """Connect to the workspace's experiment: "darkroom", in a study "darkroom/<study>"."""
        client = connect()
        name = f"darkroom/{workspace.study}" if workspace.study else "darkroom"
        return cls(client, _experiment(client, name))

    def runs(self, tags: Mapping[str, str]) -> list[Run]:
        """Return the runs that have all of ``tags``, oldest first."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self.client.search_runs([self.experiment], query, order_by=["attributes.start_time ASC"], max_results=1000)
        return list(runs)

    def create(self, name: str, tags: Mapping[str, str]) -> Run:
        """Create a run together with its tags, and the login name as MLflow's own API records it."""
        return self.client.create_run(self.experiment, tags={"mlflow.user": login(), **tags}, run_name=name)

    def points(self, run: Run) -> dict[Point, float]:
        """Return all points of all metrics."""
        names = run.data.metrics
        return {(n, m.step): m.value for n in names for m in self.client.get_metric_history(run.info.run_id, n)}

    def add_points(self, run_id: str, points: Mapping[Point, float], time: int, model: str | None = None) -> None:
        """Log points, all at ``time`` (milliseconds): with one time for all calls, MLflow drops a repeated point."""
        from mlflow.entities import Metric

        metrics = [Metric(name, value, time, step, model_id=model) for (name, step), value in points.items()]
        for start in range(0, len(metrics), POINTS_A_REQUEST):
            self.client.log_batch(run_id, metrics=metrics[start : start + POINTS_A_REQUEST], synchronous=True)

    def add_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Log the params that the run lacks; in MLflow they are immutable."""
        from mlflow.entities import Param

        missing = [Param(name, value) for name, value in params.items() if name not in run.data.params]
        for start in range(0, len(missing), PARAMS_A_REQUEST):
            self.client.log_batch(run.info.run_id, params=missing[start : start + PARAMS_A_REQUEST], synchronous=True)

    def add_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags in one request."""
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(*pair) for pair in tags.items()], synchronous=True)

    def add_view(self, run: Run, name: str, digest: str, context: str) -> None:
        """Log the view as the run's dataset, with our digest, which MLflow truncates to 36 characters."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        noted = run.inputs.dataset_inputs if run.inputs else []
        if any(entry.dataset.digest == digest[:36] for entry in noted):
            return
        dataset = Dataset(name, digest[:36], source_type="dvc", source=f"outputs/views/{name}")
        tags = [InputTag("mlflow.data.context", context)]
        self.client.log_inputs(run.info.run_id, [DatasetInput(dataset, tags)])


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    local_database = database()
    place = str(local_database.parent / "artifacts" / name.replace("/", "-")) if local_database else None
    if experiment := client.get_experiment_by_name(name):
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:  # created by another process meanwhile
        if experiment := client.get_experiment_by_name(name):
            return str(experiment.experiment_id)
        raise
