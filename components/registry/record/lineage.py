"""Lineage of a model: the entries of dvc.lock that lead to its export, logged with its MLflow run at publication."""

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
CARRIED = "lineage/carried.json"  # proofs of `flows carry`: results accepted for edited code


def chain(workspace: Workspace, run: str) -> str:
    """Return dvc.lock reduced to ``export@<run>`` and its transitive dependencies: the entries as DVC wrote them."""
    texts = lock_entries(workspace)
    outs = {stage: paths(text, "outs") for stage, text in texts.items()}
    todo, stages = [f"export@{run}"], set[str]()
    while todo:
        stage = todo.pop()
        if stage in stages or stage not in texts:
            continue
        stages.add(stage)
        deps = paths(texts[stage], "deps")
        todo += [other for other, places in outs.items() if any(_overlap(dep, out) for dep in deps for out in places)]
    return join({stage: texts[stage] for stage in sorted(stages)})


def lineage(client: MlflowClient, version: ModelVersion) -> dict[str, Any] | None:
    """Return stage -> entry of the version's lineage; None if no run of the same export has it.

    When a run was deleted, the export was perhaps published once more: then another run with its key has the lineage.
    """
    for run_id in registry.runs_of(client, version):
        if registry.has_artifact(client, run_id, ARTIFACT):
            with tempfile.TemporaryDirectory() as folder:
                return parse_stages(Path(client.download_artifacts(run_id, ARTIFACT, folder)).read_text(encoding="utf-8"))
    return None


def carried(workspace: Workspace, run: str) -> list[dict[str, Any]]:
    """Return the proofs by which results in the run's lineage were accepted for edited code, oldest first.

    A stage that has run again since has another result, of today's code.
    """
    path = workspace.folder / PurePosixPath(CARRIED).name
    stages = parse_stages(chain(workspace, run))
    proofs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    results = {(stage, out.get("md5")) for stage, entry in stages.items() for out in entry.get("outs", [])}
    return [proof for proof in proofs if (proof["stage"], proof.get("weights", "")) in results]


def carried_proofs(client: MlflowClient, version: ModelVersion) -> list[dict[str, Any]]:
    """Return the proofs that were published with the version."""
    if not version.run_id or not registry.has_artifact(client, version.run_id, CARRIED):
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(version.run_id, CARRIED, folder))
        proofs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return proofs


def registered_lineages(client: MlflowClient) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    """Yield (registered name, version, lineage) of every version in the registry, including those of other clones."""
    for model in registry.registered_models(client):
        for version in registry.versions(client, model.name):
            yield model.name, int(version.version), lineage(client, version)


def _overlap(dep: PurePosixPath, out: PurePosixPath) -> bool:
    """Whether the dep is the out, inside it, or a folder that contains it."""
    return dep == out or out in dep.parents or dep in out.parents
