"""Where a model comes from: the entries of dvc.lock that lead to its export, kept with its MLflow run when it is published."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.core.dvc_lock import join, parse_stages, paths
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.record.dvc_lock import lock_entries

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ARTIFACT = "lineage/dvc.lock"
CARRIED = "lineage/carried.json"  # proofs of what `flows carry` kept under edited code


def chain(workspace: Workspace, run: str) -> str:
    """dvc.lock with only what ``export@<run>`` depends on, directly or not, and itself: the entries as DVC wrote them."""
    texts = lock_entries(workspace)
    outs = {stage: paths(text, "outs") for stage, text in texts.items()}
    todo, found = [f"export@{run}"], set[str]()
    while todo:
        stage = todo.pop()
        if stage in found or stage not in texts:
            continue
        found.add(stage)
        deps = paths(texts[stage], "deps")
        todo += [other for other, made in outs.items() if any(_touch(dep, out) for dep in deps for out in made)]
    return join({stage: texts[stage] for stage in sorted(found)})


def lineage(client: MlflowClient, version: ModelVersion) -> dict[str, Any] | None:
    """Stage -> entry of what made the version; None where it was published without, or where its run is gone."""
    if not version.run_id or not registry.has_artifact(client, version.run_id, ARTIFACT):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return parse_stages(Path(client.download_artifacts(version.run_id, ARTIFACT, folder)).read_text(encoding="utf-8"))


def carried(workspace: Workspace, run: str) -> list[dict[str, Any]]:
    """The proofs by which results that lead to the run's export stand under edited code, oldest first."""
    path = workspace.folder / PurePosixPath(CARRIED).name
    stages = parse_stages(chain(workspace, run))
    proofs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [proof for proof in proofs if proof["stage"] in stages]


def carried_proofs(client: MlflowClient, version: ModelVersion) -> list[dict[str, Any]]:
    """The proofs that were published with the version."""
    if not version.run_id or not registry.has_artifact(client, version.run_id, CARRIED):
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(version.run_id, CARRIED, folder))
        proofs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return proofs


def registered_lineages(client: MlflowClient) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    """(registered name, version, lineage) of every version in the registry, also those of other clones."""
    for model in registry.registered_models(client):
        for version in registry.versions(client, model.name):
            yield model.name, int(version.version), lineage(client, version)


def _touch(dep: PurePosixPath, out: PurePosixPath) -> bool:
    """Whether the dep is the out, in it, or a folder that holds it."""
    return dep == out or out in dep.parents or dep in out.parents
