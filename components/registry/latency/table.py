"""Table of costs: latency and size of several exports, with the float graph of each quantised one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.registry.latency.measure import PROCESSES, QUIET, Latency, machine, measure_together
from components.registry.latency.size import Size, size_of
from components.serving.float_graph import float_export, is_quantised

HEAD = ("export", "median", "p99", "range of medians", "MB", "weights", "multiply-adds")


@dataclass(frozen=True)
class Cost:
    """What one input costs, and what is loaded for it."""

    latency: Latency
    size: Size


def costs(exports: Mapping[str, Path], processes: int = PROCESSES) -> dict[str, Cost]:
    """Measure the exports together; a quantised one ``x`` is followed by its float graph, ``x (float)``."""
    with ExitStack() as stack:
        folders: dict[str, Path] = {}
        for name, export in exports.items():
            folders[name] = export
            if is_quantised(export):
                folders[f"{name} (float)"] = stack.enter_context(float_export(export))
        sizes = {name: size_of(folder) for name, folder in folders.items()}
        return {name: Cost(latency, sizes[name]) for name, latency in measure_together(folders, processes).items()}


def text(found: Mapping[str, Cost]) -> str:
    """Format the costs as a plain table, with the machine below it, and a warning if it was busy."""
    rows = [HEAD, *(_row(name, cost) for name, cost in found.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join([*("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows), *notes(found)])


def notes(found: Mapping[str, Cost]) -> Iterator[str]:
    """Yield what was measured and where, and a warning if other work disturbed it."""
    yield f"milliseconds of one predict with one input, one thread, on {machine()}"
    share = min((cost.latency.cpu_share for cost in found.values()), default=1.0)
    if share < QUIET:
        fault = f"the machine was busy: the measurement had {share:.0%} of a core"
        yield f"warning: {fault}; medians are too high, p99 means little"


def document(found: Mapping[str, Cost]) -> dict[str, Any]:
    """Return the costs and the machine as JSON values."""
    return {"machine": machine(), "exports": {name: asdict(cost.latency) | asdict(cost.size) for name, cost in found.items()}}


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    time, size = cost.latency, cost.size
    products = "–" if size.multiply_adds is None else f"{size.multiply_adds:,}"
    spread = f"{time.low_ms:.3f} to {time.high_ms:.3f}"
    return (name, f"{time.median_ms:.3f}", f"{time.p99_ms:.3f}", spread, f"{size.megabytes:.3f}", f"{size.weights:,}", products)
