"""Scores of one model version on today's evaluation data, cached until the data or the metric code change."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.files import write_atomically
from components.core.settings import Workspace

ARRAYS = ("groups", "predicted", "probability")  # one value per image, beside those of ``items``


REPORT_ONLY = ("outputs/code/card/", "outputs/view_report/")  # what only the page of an evaluation is made from


@dataclass(frozen=True)
class VersionScores:
    """Evaluation of a version. ``model``: key of its export; ``data``: ``data_key`` of the evaluation.

    ``better``: metric -> "max" or "min". ``items``: metric -> float [N], whose mean is the metric. ``groups``: int64 [N].
    ``latency``: milliseconds and images per second of the served code on this machine.
    ``classes``: those that the version itself knows, empty for other models.
    ``predicted``: int64 [N], and ``probability``: float32 [N], that of the predicted class, of a classifier.
    """

    version: int
    model: str
    data: str
    metrics: dict[str, float]
    better: dict[str, str]
    latency: dict[str, float] = field(default_factory=dict)
    group_names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    items: dict[str, np.ndarray] = field(default_factory=dict)
    predicted: np.ndarray | None = None
    probability: np.ndarray | None = None


def data_key(workspace: Workspace, run: str) -> str:
    """Hash what the run's models are evaluated on: DVC's hashes of the dependencies of the evaluate stage that decide a figure.

    The export is what is compared, and the report's own sources say nothing of a figure. The others are the view, the linked
    views, the metric code and the settings as they are now, not when the stage last ran.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    aside = (f"outputs/export/{run}", *REPORT_ONLY, f"outputs/train/{run}/")
    try:
        with Repo(str(workspace.folder)) as repo:
            stage = repo.stage.load_one(path="dvc.yaml", name=f"evaluate@{run}")
            deps = [dep for dep in stage.deps if not Path(dep.def_path).as_posix().startswith(aside)]
            for dep in deps:
                dep.save()
            inputs = [dep.dumpd() for dep in deps]
    except DvcException as error:
        remedy = f"`python -m flows run --runs {run}` makes it, and a candidate"
        raise SettingsError(f"what {run} is evaluated on is not all here: {error}; {remedy}") from None
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def scores_file(name: str, version: int, data: str) -> Path:
    """Return the path of a version's cached scores."""
    return settings.WORK / "scores" / name / f"{version}-{data}.npz"


def write_scores(name: str, scores: VersionScores) -> None:
    """Write ``scores`` atomically to one npz file, arrays beside a JSON text."""
    plain = {key: value for key, value in asdict(scores).items() if key not in (*ARRAYS, "items")}
    arrays: dict[str, Any] = {f"items.{metric}": values for metric, values in scores.items.items()}
    arrays |= {name: array for name in ARRAYS if (array := getattr(scores, name)) is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, text=np.array(json.dumps(plain, sort_keys=True)), **arrays)
    path = scores_file(name, scores.version, scores.data)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def read_scores(name: str, version: int, data: str, model: str) -> VersionScores | None:
    """Read the cached scores of this version with this export; None if there are none, or they are not readable."""
    try:
        with np.load(scores_file(name, version, data), allow_pickle=False) as file:
            arrays = dict(file)
        plain = json.loads(str(arrays.pop("text")))
        plain |= {key: tuple(plain.get(key, ())) for key in ("group_names", "classes")}
        single = {name: arrays.pop(name, None) for name in ARRAYS}
        items = {key.removeprefix("items."): values for key, values in arrays.items()}
        scores = VersionScores(**plain, **single, items=items)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    # A rebuilt registry reuses version numbers.
    return scores if (scores.version, scores.data, scores.model) == (version, data, model) else None
