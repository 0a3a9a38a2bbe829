"""Detectors of objects, by the score of a picture: 1 - best confidence is its strangeness, so confidence is what is watched.

An export of such a model ships no reference scores. They are the best scores of the pictures that it was evaluated on, which
the evaluation writes to ``confidence.csv`` and the registry keeps beside its figures.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.settings import Workspace
from components.metrics.detection import threshold_at_tpr
from components.registry import model_registry as registry
from components.registry.record.dvc_lock import export_key
from components.registry.record.recording import EVALUATION, PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NAME = "confidence"
TABLE, COLUMN = "report/confidence.csv", "confidence"  # of the evaluation
TPR = 0.95  # share of the reference that is accepted


def finds_objects(folder: Path) -> bool:
    """Return whether the export's answers have boxes, and a best score per picture."""
    path = folder / "signature.json"
    outputs = json.loads(path.read_text(encoding="utf-8"))["outputs"] if path.is_file() else []
    return {"boxes", COLUMN} <= {entry["name"] for entry in outputs}


def reference_scores(client: MlflowClient, version: ModelVersion, workspace: Workspace, run: str) -> np.ndarray:
    """Return the best scores, float32 [m], of the pictures of the version's last recorded evaluation.

    If none is recorded they are those of the evaluation in outputs/, if it is of the same export. ValueError, with the remedy,
    without either.
    """
    for run_id in registry.runs_of(client, version):
        for child in _evaluations(client, run_id):
            if registry.has_artifact(client, child, TABLE):
                with tempfile.TemporaryDirectory() as folder:
                    return _read(Path(client.download_artifacts(child, TABLE, folder)))
    local = workspace.folder / "outputs" / "evaluate" / run / TABLE
    if local.is_file() and export_key(workspace, run) == version.tags.get(registry.KEY):
        return _read(local)
    fault = f"{version.name}: there are no scores of the pictures that version {version.version} was evaluated on"
    raise ValueError(f"{fault}; `python -m flows run --runs {run}` evaluates a run whose evaluation is out of date")


def threshold_of(reference: np.ndarray) -> float:
    """Return the score that 95 % of the reference reach."""
    return float(np.float32(threshold_at_tpr(reference, TPR)))


def answers(served: Any, inputs: Mapping[str, np.ndarray], threshold: float) -> dict[str, np.ndarray]:
    """Predict; return ``ood_score``, ``is_ood``, ``class_name`` and ``probability`` of each picture [N].

    Of a classifier they are its own outputs; of a detector of objects the class and score of its best box.
    """
    outputs: dict[str, np.ndarray] = served.predict(inputs)
    if "ood_score" in outputs:
        return outputs
    score = outputs[COLUMN]
    own = {"class_name": outputs["class_names"][:, 0], "probability": outputs["scores"][:, 0]}
    return own | {"ood_score": score, "is_ood": ~(score >= threshold)}


def _evaluations(client: MlflowClient, run_id: str) -> list[str]:
    """Return the ids of the run's evaluations, the newest first."""
    run = registry.find_run(client, run_id)
    if run is None:
        return []
    query = f"tags.`{PARENT}` = '{run_id}'"
    children = client.search_runs([run.info.experiment_id], query, order_by=["attributes.start_time DESC"])
    return [child.info.run_id for child in children if EVALUATION in child.data.tags]


def _read(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8", newline="") as file:
        scores = np.array([float(row[COLUMN]) for row in csv.DictReader(file)], dtype=np.float32)
    if not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"{TABLE}: {scores.size} scores, all finite, are not enough to compare with")
    return scores
