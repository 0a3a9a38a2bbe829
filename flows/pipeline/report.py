"""Report of a pipeline run as plain tables. Does not import Prefect."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from components.core import settings
from flows.dvc.changes import NEVER_RUN
from flows.pipeline.plan import PipelinePlan
from flows.project import Project

MAIN = 4  # metrics per line
NAMED = 4  # new stages of a kind in the plan's line
NEW, UNPUBLISHED, UNSHARED = "new results", "not published yet", "not on the remote yet"
BRIEF = (NEVER_RUN, NEW, UNPUBLISHED, UNSHARED)  # reasons without details
P50, P99, RATE = "latency_p50_ms", "latency_p99_ms", "throughput_images_per_s"  # what the evaluate stage measures

Row = dict[str, str]


def table(rows: Sequence[Row]) -> str:
    """Format rows with equal keys as a table with a header."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [columns, *([row[column] for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def describe(plan: PipelinePlan) -> str:
    """Format the plan: each stage with its reasons, in order of execution; those of a kind that are all new in one line."""
    if plan.empty:
        return f"nothing to do: {plan.up_to_date} stages are up to date and {', '.join(plan.runs)} published"
    names = {stage.name for stage in plan.stages}
    work = [(stage.kind, stage.block, "; ".join(stage.reasons)) for stage in plan.stages]
    work += [("publish", run, NEW if names.intersection(plan.ends[run]) else UNPUBLISHED) for run in plan.unpublished]
    work += [("share", name, UNSHARED) for name in plan.unshared]
    return f"{table(_plan_rows(work))}\n{len(plan.stages)} stages to run, {plan.up_to_date} up to date"


def _plan_rows(work: Sequence[tuple[str, str, str]]) -> list[Row]:
    """Return a row per (kind, block, reason), or one for all of a kind with the same reason, if the reason says no details."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for kind, block, why in work:
        groups.setdefault((kind, why) if why in BRIEF else (kind, why, block), []).append(block)
    return [_plan_row(key[0], blocks, key[1]) for key, blocks in groups.items()]


def _plan_row(kind: str, blocks: list[str], why: str) -> Row:
    if len(blocks) == 1:
        return {"stage": f"{kind}@{blocks[0]}" if blocks[0] else kind, "why": why}
    more = f" and {len(blocks) - NAMED} more" if len(blocks) > NAMED else ""
    return {"stage": f"{kind} ({len(blocks)})", "why": f"{why}: {', '.join(blocks[:NAMED])}{more}"}


def metrics_rows(project: Project, runs: Iterable[str]) -> list[Row]:
    """Return one row per run: main metrics, serving latency (one image), throughput (batch of 64), path of the report."""
    rows = []
    for run in runs:
        folder = project.folder / "outputs" / "evaluate" / run
        metrics = read(folder / "metrics.json")
        order = [name for name in read(folder / "report" / "report.json").get("directions", metrics) if name in metrics]
        speed = read(settings.WORK / "latency" / f"{project.workspace.registered_name(run)}.json")
        rows.append(
            {
                "run": run,
                "metrics": "  ".join(f"{name} {_number(metrics[name])}" for name in order[:MAIN]) or "none",
                "latency p50, p99": f"{speed[P50]:.2f}, {speed[P99]:.2f} ms" if speed else "-",
                "throughput": f"{speed[RATE]:,.0f}/s" if speed else "-",
                "report": shown_path(report_address(project, run)),
            }
        )
    return rows


def report_address(project: Project, run: str) -> Path:
    """Return the path of the run's report: the published page, else that of stage ``evaluate``."""
    published = settings.WORK / "reports" / project.workspace.registered_name(run) / "index.html"
    return published if published.is_file() else project.folder / "outputs" / "evaluate" / run / "report" / "index.html"


def shown_path(path: Path) -> str:
    """Return a path below the working folder relative to it, any other as it is."""
    return str(path.relative_to(Path.cwd())) if Path.cwd() in path.parents else str(path)


def ood_tables(project: Project, runs: Iterable[str]) -> str:
    """Format the AUROC of each detector on each out-of-distribution view, one table per run; "" if there is none."""
    texts = []
    for run in runs:
        name = project.workspace.detection_of(run)
        path = project.folder / "outputs" / "ood_table" / str(name) / "report" / "auroc.csv"
        if name and project.workspace.ood(name) and path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [{name: _short(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
            texts.append(
                f"{run} against other views (AUROC; all figures: {path.parent.relative_to(project.folder)}):\n{table(rows)}"
            )
    return "\n\n".join(texts)


def _short(cell: str) -> str:
    try:
        return f"{float(cell):.4f}"
    except ValueError:
        return cell


def where_to_look(project: Project) -> str:
    """Return the commands that show more."""
    from components.registry.record.published import shown_uri

    folder = project.folder.relative_to(project.root)
    there = "" if folder == Path() else f"cd {folder} && "
    browse = f"mlflow ui --backend-store-uri {shlex.quote(shown_uri())}"
    # Without names DVC shows every study, a row of dashes for each run that has no results here.
    metrics, plots = "outputs/evaluate/*/metrics.json", "outputs/evaluate/*/plots outputs/train/*/curves.csv"
    return f"look:  {there}dvc metrics show {metrics}\n       {there}dvc plots show {plots}\n       {browse}"


def read(path: Path) -> dict[str, Any]:
    """Read the JSON object in the file; empty if there is none."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
