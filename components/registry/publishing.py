"""Publish the results of a run: measure the latency, record the run in MLflow, register the model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from components.core.settings import ROOT, Workspace
from components.registry.latency.measure import measure_together
from components.registry.record.dvc_lock import export_key
from components.registry.record.outs import RunOutputs
from components.registry.reports.published import local_sections, publish_report, write_report
from components.registry.tracking import TrackingUnavailable, connect, publish, reachable
from components.serving.float_graph import float_export, is_quantised
from components.serving.loading import load_served
from components.stages.evaluate.latency import has_latency, measure_latency, write_latency


def publish_run(workspace: Workspace, run: str, *, strict: bool, detection: bool = True) -> None:
    """Record the run and its latency, and register its model.

    ``strict``: raise if the tracking server does not answer, instead of printing a warning. ``detection``: also record the
    table of out-of-distribution views, which does not exist yet when the evaluate stage publishes.
    """
    measure(workspace, run)
    outs = RunOutputs.of(workspace, run)
    write_report(outs, local_sections(outs))  # even if the server does not answer
    try:
        published = publish(workspace, run, detection=detection)
        with reachable():
            path = publish_report(connect(), outs, published)
        print(f"{run}: published as version {published.version}" + (f"; report: {shown_path(path)}" if path else ""))
    except TrackingUnavailable as error:
        if strict:
            raise
        print(f"warning: {error}; the results are safe, the next flow run publishes them", file=sys.stderr)


def shown_path(path: Path) -> str:
    """Return a path below the repository relative to it, any other as it is."""
    return str(path.relative_to(ROOT)) if ROOT in path.parents else str(path)


def measure(workspace: Workspace, run: str) -> None:
    """Measure the latency of the export on this machine, once."""
    key = export_key(workspace, run)
    if has_latency(workspace, run, key):
        return
    folder = workspace.folder / "outputs" / "export" / run
    with np.load(folder / "example.npz", allow_pickle=False) as example:
        figures = measure_latency(load_served(folder), dict(example))
    write_latency(workspace, run, key, figures | float_latency(folder))


def float_latency(export: Path) -> dict[str, float]:
    """Measure a quantised export in turns with its float graph: median milliseconds of both; {} for any other export."""
    if not is_quantised(export):
        return {}
    with float_export(export) as other:
        found = measure_together({"int8": export, "float": other}, processes=1)
    return {f"{name}_latency_ms": latency.median_ms for name, latency in found.items()}
