"""Summarise the metrics of a run and of its other seeds: mean and sample standard deviation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import numpy as np

from components.core.artifact import Artifact
from components.core.recipe import Metric, Report

TABLE = "seeds"


def add_seeds(report: Report, links: Mapping[str, Artifact], seed: int) -> None:
    """Add ``seeds.<metric>.mean`` and ``.std`` (sample standard deviation, ddof 1) and the table ``seeds`` to the report.

    ``links``: those with the roles ``seed_<number>`` point to the metrics of other seeds, JSON files. Without one, nothing is
    added. A metric that some seed lacks is left out. ``seed``: of this run.
    """
    others = {int(match[1]): links[role] for role in links if (match := re.fullmatch(r"seed_(\d+)", role))}
    if not others:
        return
    figures = {seed: {name: metric.value for name, metric in report.metrics.items()}}
    figures |= {number: json.loads(link.path.read_text(encoding="utf-8")) for number, link in sorted(others.items())}
    rows = []
    for name in list(report.metrics):
        if not all(name in metrics for metrics in figures.values()):
            continue
        values = np.array([metrics[name] for metrics in figures.values()], dtype=np.float64)
        mean, std = float(values.mean()), float(values.std(ddof=1))
        report.metrics[f"seeds.{name}.mean"] = Metric(mean, report.metrics[name].better)
        report.metrics[f"seeds.{name}.std"] = Metric(std, "min")
        each = {f"seed {number}": metrics[name] for number, metrics in figures.items()}
        rows.append({"metric": name, "mean": mean, "std": std, **each})
    report.tables[TABLE] = rows
