"""The published report: the page of stage ``evaluate`` with version, speed, out-of-distribution table and lineage."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core import settings
from components.core.files import write_text
from components.registry import model_registry as registry
from components.registry.latency.size import Size, size_of
from components.registry.record.dvc_lock import content_key
from components.registry.record.origin import Origin, find_origin
from components.registry.record.outs import RunOutputs, latency
from components.registry.record.published import Publication
from components.stages.evaluate.report.images import file_uri
from components.stages.evaluate.report.page import FILE, Block, Facts, Figure, Section, Table, Text
from components.stages.evaluate.report.render import with_sections

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPORT = "darkroom.report"  # tag of a run: the hash of its artifact report/index.html
SPEED = {
    "latency_p50_ms": "one picture, median (ms)",
    "latency_p99_ms": "one picture, 99th percentile (ms)",
    "throughput_images_per_s": "pictures per second, in batches of 64",
    "int8_latency_ms": "one picture by the int8 graph, in turns with the float graph, median (ms)",
    "float_latency_ms": "one picture by the float graph, in turns with the int8 graph, median (ms)",
}


def report_file(name: str) -> Path:
    """Return the path of the published page of a registered name."""
    return settings.WORK / "reports" / name / FILE


def write_report(outs: RunOutputs, sections: list[Section]) -> Path | None:
    """Write the run's page with further sections; None if stage ``evaluate`` has written no page yet."""
    page = outs.evaluate / "report" / FILE
    if not page.is_file():
        return None
    path = report_file(outs.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, with_sections(page.read_text(encoding="utf-8"), sections))
    return path


def publish_report(client: MlflowClient, outs: RunOutputs, record: Publication) -> Path | None:
    """Write the page of a published version, and log it with the version's run unless it is there; return its path."""
    origin, aliases = find_origin(client, outs.name, str(record.version)), registry.aliases(client, outs.name)
    path = write_report(outs, [version_section(record, origin, aliases), *local_sections(outs), *lineage_sections(origin)])
    if path is None:
        return None
    key, run = content_key(path.read_text(encoding="utf-8")), registry.find_run(client, record.run_id)
    if run is not None and run.data.tags.get(REPORT) != key:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / FILE
            copy.write_bytes(path.read_bytes())
            client.log_artifact(record.run_id, str(copy), "report")
        client.set_tag(record.run_id, REPORT, key)
    return path


def local_sections(outs: RunOutputs) -> list[Section]:
    """Return the speed on this machine, the size of what is served, and the table of out-of-distribution views."""
    figures = latency(outs)
    speed = [Facts([(words, figures[name]) for name, words in SPEED.items() if name in figures])] if figures else []
    note = Text(["Measured on the machine that published this version, by the served code."])
    size = Section("Size", [Facts(size_rows(size_of(outs.export)))])
    return [Section("Speed", [*speed, note] if speed else []), size, Section("Out-of-distribution", list(ood_blocks(outs)))]


def size_rows(size: Size) -> list[tuple[str, Any]]:
    """Return the lines on what is served."""
    rows: list[tuple[str, Any]] = [("graphs and weights (MB)", size.megabytes), ("weights in the graphs", size.weights)]
    return [*rows, ("multiply-adds of one picture", size.multiply_adds)]


def ood_blocks(outs: RunOutputs) -> Iterator[Block]:
    """Yield the AUROC of each detector against each view, what could not be fitted, and the pictures of the table."""
    folder = outs.ood_table / "report"
    name = outs.workspace.detection_of(outs.run)
    if name is None or not outs.workspace.ood(name):
        return
    for file, caption in (("auroc.csv", "AUROC of each detector against each other view"), ("unfitted.csv", "not fitted")):
        if rows := read_table(folder / file):
            yield Table(rows, caption)
    for path in sorted(folder.glob("*.png")):
        yield Figure(path.stem.replace("_", " "), uri=file_uri(path))


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a CSV file, numbers as numbers; none for a missing file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


def version_section(record: Publication, origin: Origin, aliases: dict[str, int]) -> Section:
    """Return the version in the registry. Champions change: the page says who was it when this version was published."""
    champion = f"version {aliases['champion']}" if "champion" in aliases else "none yet"
    rows: list[tuple[str, Any]] = [("version, at publication", origin.title), ("champion, at publication", champion)]
    rows.append(("tracking server", record.tracking_uri))
    return Section("Version", [Facts(rows + list(origin.facts.items()))])


def lineage_sections(origin: Origin) -> list[Section]:
    """Return the stages that led to the export: what each read and wrote, by DVC's hashes."""
    blocks: list[Block] = [Table(list(_stage_rows(origin.stages)))] if origin.stages else []
    blocks += [
        Text(
            [
                f"{proof['stage']}: computed by the code of {proof['old_commit']}, accepted for that of {proof['new_commit']}:"
                f" the same bits in {proof['steps']} steps"
                for proof in origin.carried
            ],
            listed=True,
        )
    ] * bool(origin.carried)
    return [Section("Lineage", blocks)]


def _stage_rows(stages: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for stage, entry in stages.items():
        outs = [out for out in entry.get("outs", []) if not out["path"].startswith("outputs/inputs/")]
        deps = [dep for dep in entry.get("deps", []) if not dep["path"].startswith("outputs/code/")]
        yield {"stage": stage, "reads": _paths(deps), "writes": _paths(outs)}


def _paths(entries: list[dict[str, Any]]) -> str:
    return ", ".join(f"{entry['path']} ({str(entry.get('md5', ''))[:8]})" for entry in entries) or "–"
