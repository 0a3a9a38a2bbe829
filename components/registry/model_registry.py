"""MLflow's model registry: register an export as a version that any MLflow server can load; aliases and tags."""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.registry.record.serving_entry import ENTRY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.models import ModelSignature

KEY = "darkroom.key"  # tag of runs, models and versions: the hash of the export's dvc.lock entry

# The dtypes of a parameter in signature.json, as MLflow names them.
PARAM_TYPES = {"bool": "boolean", "int64": "long", "int32": "integer", "float32": "float", "float64": "double", "str": "string"}

# ---------------------------------------------------------------------------------------------------- versions and aliases


def versions(client: MlflowClient, name: str, key: str | None = None) -> list[ModelVersion]:
    """Return the versions of a registered model, oldest first; only those of one export if ``key`` is given."""
    query = f"name = '{name}'" + (f" and tags.`{KEY}` = '{key}'" if key else "")
    entries: list[ModelVersion] = []
    page = client.search_model_versions(query)
    entries += page
    while page.token:
        page = client.search_model_versions(query, page_token=page.token)
        entries += page
    return sorted(entries, key=lambda entry: int(entry.version))


def aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version with the alias ("candidate", "champion", "previous"), or None."""
    number = aliases(client, name).get(alias)
    return None if number is None else client.get_model_version(name, str(number))


def aliases(client: MlflowClient, name: str) -> dict[str, int]:
    """Return alias -> version number; empty for a model that is not registered."""
    model = find_model(client, name)
    return {alias: int(number) for alias, number in model.aliases.items()} if model else {}


def model_tags(client: MlflowClient, name: str) -> dict[str, str]:
    """Return the tags of the registered model; empty if there is no such model."""
    model = find_model(client, name)
    return dict(model.tags) if model else {}


def find_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Return the registered model, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def registered_models(client: MlflowClient) -> list[RegisteredModel]:
    """Return all registered models, sorted by name."""
    page = client.search_registered_models()
    models: list[RegisteredModel] = list(page)
    while page.token:
        page = client.search_registered_models(page_token=page.token)
        models += page
    return sorted(models, key=lambda model: str(model.name))


def find_run(client: MlflowClient, run_id: str | None) -> Run | None:
    """Return the run, or None if it does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def runs_of(client: MlflowClient, version: ModelVersion) -> list[str]:
    """Return the ids of the version's run, and of all other runs, deleted ones too, that recorded the same export."""
    from mlflow.entities import ViewType

    own = [version.run_id] if version.run_id else []
    run, key = find_run(client, version.run_id), version.tags.get(KEY)
    if key is None:
        return own
    experiments = [run.info.experiment_id] if run else [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`{KEY}` = '{key}'", ViewType.ALL) if experiments else []
    return list(dict.fromkeys([*own, *(found.info.run_id for found in runs)]))


def has_artifact(client: MlflowClient, run_id: str, path: str) -> bool:
    """Whether the run exists and has the artifact."""
    exists = find_run(client, run_id) is not None
    return exists and any(file.path == path for file in client.list_artifacts(run_id, path.rpartition("/")[0]))


def set_alias(client: MlflowClient, name: str, alias: str, number: int) -> None:
    """Set the alias, unless it is set already. MLflow has no compare-and-swap: hold a lock around a decision."""
    if aliases(client, name).get(alias) != number:
        client.set_registered_model_alias(name, alias, str(number))


def model_id(version: ModelVersion) -> str:
    """Return the id of the version's model, from its source: ``version.model_id`` is empty when a version is read again."""
    return str(version.source).removeprefix("models:/")


def set_version_tags(client: MlflowClient, version: ModelVersion, tags: dict[str, str]) -> None:
    """Set the tags that differ."""
    for name, value in tags.items():
        if version.tags.get(name) != value:
            client.set_model_version_tag(version.name, version.version, name, value)


def load(client: MlflowClient, name: str, number: int) -> Any:
    """Load the version as MLflow serves it: a pyfunc model with a signature. ``client`` comes from ``connect``."""
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(f"models:/{name}/{client.get_model_version(name, str(number)).version}")


def scoring_app(client: MlflowClient, name: str, number: int) -> Any:
    """Return the FastAPI app of ``mlflow models serve`` for the version; ``app.state.served``: the version's served code."""
    from mlflow.pyfunc import scoring_server

    model = load(client, name, number)
    app = scoring_server.init(model)
    app.state.served = model.unwrap_python_model().served
    return app


def export_folder(client: MlflowClient, name: str, number: int) -> Path:
    """Download the version's export folder (``served.py``, graphs) and return its local path."""
    import mlflow.artifacts

    uri = f"models:/{name}/{client.get_model_version(name, str(number)).version}"
    (served,) = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri)).glob("artifacts/*/served.py")
    return served.parent


# ------------------------------------------------------------------------------------------------------------- registering


def register(client: MlflowClient, name: str, key: str, run_id: str, export: Path) -> ModelVersion:
    """Return the oldest version of ``name`` with ``key``; register the folder ``export`` if there is none.

    Idempotent: a repeated call completes an interrupted one (a model without files, a model without a version).
    """
    if registered := versions(client, name, key):
        return registered[0]
    version = _create_version(client, name, key, _logged_model(client, name, key, run_id, export))
    first = versions(client, name, key)[0]
    if first.version != version.version:  # registered by another machine meanwhile: locks are local
        client.delete_model_version(name, str(version.version))
    return first


def _create_version(client: MlflowClient, name: str, key: str, model: LoggedModel) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model.model_id}"
    return client.create_model_version(name, source, run_id=model.source_run_id, tags={KEY: key}, model_id=model.model_id)


def _logged_model(client: MlflowClient, name: str, key: str, run_id: str, export: Path) -> LoggedModel:
    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    query, order = f"tags.`{KEY}` = '{key}'", [{"field_name": "creation_time"}]
    models = client.search_logged_models([experiment], query, order_by=order)
    model = models[0] if models else client.create_logged_model(experiment, name.rpartition(".")[2], run_id, tags={KEY: key})
    outputs = run.outputs.model_outputs if run.outputs else []
    if all(output.model_id != model.model_id for output in outputs):
        _link(client, run_id, model.model_id)
    if str(model.status) == "READY":
        return model
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model", model, export)
        client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
    return client.finalize_logged_model(model.model_id, "READY")


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def write_model(folder: Path, model: LoggedModel, export: Path) -> None:
    """Write the MLflow model of an export to ``folder``: a pyfunc from code, with the export as its only artifact."""
    import mlflow.pyfunc
    from mlflow.models import Model

    entry = folder.parent / "entry.py"
    entry.write_text(ENTRY, encoding="utf-8")
    with np.load(export / "example.npz", allow_pickle=False) as arrays:
        example = dict(arrays)
    mlflow.pyfunc.save_model(
        folder,
        mlflow_model=Model(
            model.artifact_location, run_id=model.source_run_id, model_uuid=model.model_id, model_id=model.model_id
        ),
        python_model=str(entry),
        artifacts={"export": str(export)},
        signature=read_signature(export / "signature.json"),
        input_example=example,
        pip_requirements=requirements(export),  # MLflow's own inference of them starts a process and is slow
    )


def read_signature(path: Path) -> ModelSignature:
    """Read signature.json as MLflow's signature: input and output tensors, parameters with defaults."""
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    content = json.loads(path.read_text(encoding="utf-8"))
    tensors = {
        side: Schema([TensorSpec(np.dtype(t["dtype"]), tuple(t["shape"]), t["name"]) for t in content[side]])
        for side in ("inputs", "outputs")
    }
    params = [
        ParamSpec(p["name"], DataType[PARAM_TYPES[p["dtype"]]], p["default"], tuple(p["shape"]) if "shape" in p else None)
        for p in content["params"]
    ]
    return ModelSignature(**tensors, params=ParamSchema(params) if params else None)  # type: ignore[arg-type]


def requirements(export: Path) -> list[str]:
    """Return the packages that serving needs, pinned to the installed versions; torch only if weights are shipped."""
    names = ["mlflow", "numpy", "pillow", *(["torch", "safetensors"] if (export / "weights.safetensors").exists() else [])]
    # A local label such as +cpu is on no public index.
    return [f"{name}=={version(name).partition('+')[0]}" for name in (*names, onnx_runtime())]


def onnx_runtime() -> str:
    """Return the name of the installed ONNX Runtime package."""
    try:
        version("onnxruntime")
    except PackageNotFoundError:
        return "onnxruntime-gpu"
    return "onnxruntime"


# ---------------------------------------------------------------------------------------------------------------- deleting


def all_runs(client: MlflowClient, experiments: list[str]) -> list[Run]:
    """Return all runs of the experiments, including deleted ones."""
    from mlflow.entities import ViewType

    page = client.search_runs(experiments, "", ViewType.ALL) if experiments else None
    runs: list[Run] = list(page or [])
    while page and page.token:
        page = client.search_runs(experiments, "", ViewType.ALL, page_token=page.token)
        runs += page
    return runs


def delete_files(uri: str) -> None:
    """Delete everything below an artifact address."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(uri).delete_artifacts()
