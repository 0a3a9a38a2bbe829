"""The steps of ``publish``: record the run, and its evaluation as a child run. Each is idempotent."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.core.files import this_process, write_json
from components.registry.model_registry import KEY, model_id, set_version_tags
from components.registry.record.dead import PROCESS, dead_runs, end
from components.registry.record.dvc_lock import content_key
from components.registry.record.lineage import ARTIFACT, CARRIED, carried, chain
from components.registry.record.outs import (
    Point,
    RunOutputs,
    belongs,
    curve_points,
    ended_fingerprint,
    latency,
    read_json,
    same,
    tags,
)
from components.registry.record.parameters import evaluation_parameters, flatten, parameters
from components.registry.record.sounds import log_sounds

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

    from components.registry.tracking import Server

NAME = "darkroom.name"  # tag: the registered name
FINGERPRINT = "darkroom.fingerprint"  # tag: fingerprint of the training
LIVE = "darkroom.live"  # tag: "true" on a run of live logging, "adopted" once it is published
EVALUATION = "darkroom.evaluation"  # tag of a child run: the hash of metrics and evaluation settings
DETECTION = "darkroom.detection"  # tag of a child run: the hash of the table of out-of-distribution views
WHOLE = "darkroom.whole"  # tag: the recording is complete
LINEAGE = "darkroom.lineage"  # tag: the hash of the artifact lineage/dvc.lock, once that is there
PARENT = "mlflow.parentRunId"


def record_run(server: Server, outs: RunOutputs) -> str:
    """Complete the run with the export's key, adopted from live logging or created if needed; return its id."""
    curves = curve_points(outs.train)
    ended = ended_fingerprint(outs, curves)
    live = [run for run in server.runs({NAME: outs.name, LIVE: "true"}) if KEY not in run.data.tags]
    record = _find_run(server, outs) or _adopt(server, outs, live, curves, ended)
    record = record or _create(server, outs)
    if WHOLE not in record.data.tags:
        _complete(server, record, outs, curves, ended)
    if LINEAGE not in record.data.tags:
        _add_lineage(server, str(record.info.run_id), outs)
    _delete_surplus(server, record, live, ended)
    return str(record.info.run_id)


def _find_run(server: Server, outs: RunOutputs) -> Run | None:
    """Return the run with the key; the oldest, if two machines created one each."""
    runs = server.runs({KEY: outs.key, NAME: outs.name})
    return runs[0] if runs else None


def _create(server: Server, outs: RunOutputs) -> Run:
    """Create a run with the key, unless another machine did so meanwhile: locks are local."""
    run = server.create(outs.run, {KEY: outs.key, NAME: outs.name, PROCESS: this_process()})
    first = _find_run(server, outs)
    if first is None or first.info.run_id == run.info.run_id:
        return run
    server.client.delete_run(run.info.run_id)
    return first


def _adopt(server: Server, outs: RunOutputs, live: list[Run], curves: dict[Point, float], ended: str | None) -> Run | None:
    """Tag the live run of the same training with the key; return it, or None if there is none."""
    for run in live:
        # A run in progress on another machine is left alone, even if its curve is the beginning of ours.
        over = run.info.status != "RUNNING" or run.data.tags[FINGERPRINT] == ended
        if over and belongs(server.points(run), curves):
            server.add_tags(run.info.run_id, {KEY: outs.key, LIVE: "adopted"})
            return server.client.get_run(run.info.run_id)
    return None


def sweep(server: Server) -> None:
    """Set the experiment's dead runs of this machine to KILLED."""
    for run in dead_runs(server.client, [server.experiment]):
        end(server.client, run)


def _complete(server: Server, record: Run, outs: RunOutputs, curves: dict[Point, float], ended: str | None) -> None:
    """Record from the outs what the run lacks."""
    run_id = record.info.run_id
    digest, parity = read_json(outs.view / "view.json")["digest"], read_json(outs.export / "parity.json")
    server.add_tags(run_id, {PROCESS: this_process()})
    server.add_params(record, parameters(outs))
    worst = {(f"parity.{graph}.max_abs_difference", 0): float(entry["max_abs_difference"]) for graph, entry in parity.items()}
    known = server.points(record)
    missing = {point: value for point, value in (curves | worst).items() if point not in known}
    server.add_points(run_id, missing, record.info.start_time)
    server.add_view(record, outs.block.view, digest, "training")
    files = {"view": outs.view / "contact.png", "train": outs.train / "curves.csv", "export": outs.export / "parity.json"}
    for place, path in files.items():
        if path.is_file():
            server.client.log_artifact(run_id, str(path), place)
    server.client.set_terminated(run_id, "FINISHED")
    fingerprint = {FINGERPRINT: ended} if ended else {}
    server.add_tags(run_id, {**tags(outs), "darkroom.view_digest": digest, **fingerprint, WHOLE: "yes"})


def _add_lineage(server: Server, run_id: str, outs: RunOutputs) -> None:
    """Log the lineage from today's dvc.lock: the export's key is unchanged, so it describes these bytes."""
    text = chain(outs.workspace, outs.run)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(ARTIFACT).name
        path.write_text(text, encoding="utf-8")
        server.client.log_artifact(run_id, str(path), str(PurePosixPath(ARTIFACT).parent))
        if proofs := carried(outs.workspace, outs.run):
            path = Path(folder) / PurePosixPath(CARRIED).name
            write_json(path, proofs)
            server.client.log_artifact(run_id, str(path), str(PurePosixPath(CARRIED).parent))
    server.add_tags(run_id, {LINEAGE: content_key(text)})


def _delete_surplus(server: Server, record: Run, live: list[Run], ended: str | None) -> None:
    """Delete the live runs of a repeated training with the same result, which is recorded already."""
    for run in live:
        if run.info.run_id != record.info.run_id and run.data.tags[FINGERPRINT] == ended:
            server.client.delete_run(run.info.run_id)


def record_evaluation(server: Server, outs: RunOutputs, parent: str, version: ModelVersion) -> None:
    """Record the evaluation as a child run: metrics (also on the model), directions, tables, pictures, latency."""
    labels = {PARENT: parent, EVALUATION: outs.evaluation}
    children = server.runs(labels)
    child = children[0] if children else server.create(f"{outs.run} evaluation", labels | {PROCESS: this_process()})
    metrics = {(name, 0): float(value) for name, value in read_json(outs.evaluate / "metrics.json").items()}
    if WHOLE not in child.data.tags:
        _complete_evaluation(server, child, outs, metrics, model_id(version))
    figures = {(name, 0): value for name, value in latency(outs).items() if child.data.metrics.get(name) != value}
    server.add_points(child.info.run_id, figures, int(time.time() * 1000))
    _summarise(server, parent, metrics)
    set_version_tags(server.client, version, {f"metric.{name}": f"{value:.6g}" for (name, _), value in metrics.items()})


def _summarise(server: Server, parent: str, metrics: dict[Point, float]) -> None:
    """Log the test figures on the run itself too, where tables of runs show them and sort by them."""
    shown = server.client.get_run(parent).data.metrics
    new = {name: value for (name, _), value in metrics.items() if name not in shown or not same(value, shown[name])}
    # A run of an earlier version has a training curve of this name: MLflow shows the value of the last step.
    steps = {name: max(m.step for m in server.client.get_metric_history(parent, name)) for name in new if name in shown}
    points = {(name, steps.get(name, 0)): value for name, value in new.items()}
    server.add_points(parent, points, int(time.time() * 1000))


def _complete_evaluation(server: Server, child: Run, outs: RunOutputs, metrics: dict[Point, float], model: str) -> None:
    run_id = child.info.run_id
    server.add_tags(run_id, {PROCESS: this_process()})
    server.add_params(child, evaluation_parameters(outs))
    server.add_points(run_id, metrics, child.info.start_time, model)
    for folder in ("report", "plots"):
        if (outs.evaluate / folder).is_dir():
            server.client.log_artifacts(run_id, str(outs.evaluate / folder), folder)
    log_sounds(server, run_id, outs)
    server.client.set_terminated(run_id, "FINISHED")
    server.add_tags(run_id, {**_directions(outs.evaluate), WHOLE: "yes"})


def record_detection(server: Server, outs: RunOutputs, parent: str, key: str) -> None:
    """Record the table of out-of-distribution views as a child run: metrics per detector, tables, pictures."""
    labels = {PARENT: parent, DETECTION: key}
    children = server.runs(labels)
    child = children[0] if children else server.create(f"{outs.run} out-of-distribution", labels | {PROCESS: this_process()})
    if WHOLE in child.data.tags:
        return
    run_id, figures = child.info.run_id, read_json(outs.ood_table / "metrics.json")
    server.add_tags(run_id, {PROCESS: this_process()})
    server.add_params(child, flatten({"detect": outs.detection}))
    points = {(f"{detector}.{name}", 0): float(value) for detector, row in figures.items() for name, value in row.items()}
    server.add_points(run_id, points, child.info.start_time)
    server.client.log_artifacts(run_id, str(outs.ood_table / "report"), "report")
    server.client.set_terminated(run_id, "FINISHED")
    server.add_tags(run_id, {WHOLE: "yes"})


def _directions(evaluate: Path) -> dict[str, str]:
    report: dict[str, Any] = read_json(evaluate / "report" / "report.json", default={})
    return {f"better.{name}": direction for name, direction in report.get("directions", {}).items()}
