"""Where a model comes from: the entries of dvc.lock that lead to its export, kept with its MLflow run when it is published."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.record.dvc_lock import lock_entries

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ARTIFACT = "lineage/dvc.lock"
HEADER = "schema: '2.0'\nstages:\n"


def chain(workspace: Workspace, run: str) -> str:
    """dvc.lock with only what ``export@<run>`` depends on, directly or not, and itself: the entries as DVC wrote them."""
    texts = lock_entries(workspace)
    outs = {stage: _paths(text, "outs") for stage, text in texts.items()}
    todo, found = [f"export@{run}"], set[str]()
    while todo:
        stage = todo.pop()
        if stage in found or stage not in texts:
            continue
        found.add(stage)
        deps = _paths(texts[stage], "deps")
        todo += [other for other, made in outs.items() if any(_touch(dep, out) for dep in deps for out in made)]
    return HEADER + "".join(texts[stage] for stage in sorted(found))


def parse(text: str) -> dict[str, Any]:
    """Stage -> its entry (cmd, deps, params, outs)."""
    content = YAML(typ="safe", pure=True).load(text)
    return dict(content["stages"])


def lineage(client: MlflowClient, version: ModelVersion) -> dict[str, Any] | None:
    """Stage -> entry of what made the version; None where it was published without, or where its run is gone."""
    if not version.run_id or not registry.has_artifact(client, version.run_id, ARTIFACT):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return parse(Path(client.download_artifacts(version.run_id, ARTIFACT, folder)).read_text(encoding="utf-8"))


def registered_lineages(client: MlflowClient) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    """(registered name, version, lineage) of every version in the registry, also those of other clones."""
    for model in registry.registered_models(client):
        for version in registry.versions(client, model.name):
            yield model.name, int(version.version), lineage(client, version)


def _paths(text: str, section: str) -> list[PurePosixPath]:
    """The paths below ``deps`` or ``outs`` of an entry's text."""
    found = re.search(rf"^    {section}:\n((?:    [- ] .*\n)*)", text, re.MULTILINE)
    lines = re.findall(r"^    - path: (.*)$", found[1], re.MULTILINE) if found else []
    return [PurePosixPath(line.strip("'\"")) for line in lines]


def _touch(dep: PurePosixPath, out: PurePosixPath) -> bool:
    """Whether the dep is the out, in it, or a folder that holds it."""
    return dep == out or out in dep.parents or dep in out.parents
