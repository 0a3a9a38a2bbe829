"""Test a registered version: load it, predict its example, score it with its own shipped code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.artifact import content_md5
from components.core.errors import is_transient
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.promotion.classes import classes_of, widened
from components.registry.promotion.scores import VersionScores, data_key, write_scores
from components.registry.tracking import reachable
from components.serving.golden import play
from components.serving.loading import load_served
from components.stages.evaluate.latency import measure_latency
from components.stages.evaluate.score import score

if TYPE_CHECKING:
    from mlflow import MlflowClient

LENGTH = 300  # characters of a reason


class Unfit(Exception):
    """The version does not load, does not predict, or cannot be scored; the message says why."""


def load_and_answer(client: MlflowClient, name: str, number: int) -> Path:
    """Load the version, predict its example and golden pictures, check the outputs; return its export folder.

    Raise Unfit if that fails.
    """
    model, folder = _attempt(f"version {number} does not load", lambda: _load(client, name, number))
    signature = model.metadata.signature
    if signature is None or signature.inputs is None or signature.outputs is None:
        raise Unfit(f"version {number} has no signature")
    example = _attempt(f"version {number} has no readable example", lambda: _arrays(folder / "example.npz"))
    answer = _attempt(f"version {number} does not answer its example", lambda: model.predict(example))
    _check_answer(f"version {number}", answer, signature.outputs.inputs, len(next(iter(example.values()))))
    if differences := _attempt(f"version {number} does not load", lambda: play(folder, load_served(folder))):
        raise Unfit(f"version {number}: {differences[0]}")
    return folder


def score_version(
    client: MlflowClient, workspace: Workspace, run: str, number: int, classes: tuple[str, ...] = ()
) -> VersionScores:
    """Load, score and time the version, and cache its scores; raise Unfit if that fails.

    ``classes``: of today's data; images of those that the version does not know count as wrong, instead of being refused.
    """
    name = workspace.registered_name(run)
    folder, data = load_and_answer(client, name, number), data_key(workspace, run)
    with widened(folder, classes) as export:
        what = f"version {number} cannot be scored on today's data"
        report = _attempt(what, lambda: score(workspace, run, export), (OSError,))
    tags = client.get_model_version(name, str(number)).tags
    scores = VersionScores(
        version=number,
        model=str(tags.get(registry.KEY, "")),
        data=data,
        metrics={metric: float(entry.value) for metric, entry in report.metrics.items()},
        better={metric: entry.better for metric, entry in report.metrics.items()},
        latency=measure_latency(load_served(folder), _arrays(folder / "example.npz")),
        group_names=report.group_names,
        classes=classes_of(folder),
        groups=report.groups,
        items=report.items,
        predicted=None if report.probabilities is None else report.probabilities.argmax(1).astype(np.int64),
        probability=None if report.probabilities is None else report.probabilities.max(1),
    )
    if data_key(workspace, run) != data:
        raise ValueError(f"{run}: the evaluation data or code changed while version {number} was scored; try again")
    write_scores(name, scores)
    return scores


def must_be_outs(client: MlflowClient, workspace: Workspace, run: str, number: int) -> None:
    """Raise Unfit unless the version is byte for byte the run's export."""
    export = workspace.folder / "outputs" / "export" / run
    with reachable():
        shipped = registry.export_folder(client, workspace.registered_name(run), number)
    if content_md5(shipped) != content_md5(export):
        raise Unfit(f"version {number} does not ship what outputs/export/{run} holds")


def _load(client: MlflowClient, name: str, number: int) -> tuple[Any, Path]:
    with reachable():
        return registry.load(client, name, number), registry.export_folder(client, name, number)


def _attempt(what: str, action: Callable[[], Any], blameless: tuple[type[Exception], ...] = ()) -> Any:
    """Run ``action`` on shipped code or files; turn an error into Unfit unless it is transient or in ``blameless``."""
    try:
        return action()
    except Exception as error:
        if is_transient(error) or isinstance(error, blameless):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        # An error of MLflow's may quote all pixels in its middle.
        short = reason if len(reason) <= LENGTH else f"{reason[: LENGTH // 2]} ... {reason[-LENGTH // 2 :]}"
        raise Unfit(f"{what}: {short}") from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _check_answer(who: str, outputs: Any, specs: list[Any], number: int) -> None:
    """Check the outputs against the signature: names, dtypes, one row per input, finite numbers."""
    names = [entry.name for entry in specs]
    if not isinstance(outputs, dict) or sorted(outputs) != sorted(names):
        names_of_answer = ", ".join(map(str, outputs)) if isinstance(outputs, dict) else type(outputs).__name__
        raise Unfit(f"{who} answers with {names_of_answer} instead of {', '.join(names)}")
    for entry in specs:
        array, kind = np.asarray(outputs[entry.name]), np.dtype(entry.type).kind
        if array.dtype.kind not in {"U": "UO", "O": "UO"}.get(kind, kind):
            raise Unfit(f"{who} answers {entry.name} as {array.dtype}, its signature says {entry.type}")
        rows = (number, *entry.shape[1:])
        if array.ndim != len(entry.shape) or any(w not in (-1, g) for w, g in zip(rows, array.shape, strict=True)):
            raise Unfit(f"{who} answers {entry.name} of shape {list(array.shape)}, its signature says {list(entry.shape)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Unfit(f"{who} answers {entry.name} with numbers that are not finite")
