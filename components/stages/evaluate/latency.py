"""Latency and throughput of the served code. Not in a DVC out: the figures differ between runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from components.core import settings
from components.core.files import write_atomically
from components.core.settings import Workspace

CALLS, WARM_UP, THROUGHPUT_CALLS, THROUGHPUT_BATCH = 200, 20, 5, 64
MIN_CALLS, MAX_SECONDS = 3, 5.0  # of each of the two measurements: a diffusion model takes seconds per call


def measure_latency(served: Any, example: dict[str, np.ndarray]) -> dict[str, float]:
    """Measure p50 and p99 of ``predict`` on one input in milliseconds, and inputs per second at a batch of 64.

    Makes 200 and 5 calls, or fewer if they take more than ``MAX_SECONDS``.
    """
    one = {name: array[:1] for name, array in example.items()}
    many = {name: np.resize(array, (THROUGHPUT_BATCH, *array.shape[1:])) for name, array in example.items()}
    times = np.array(_times(served, one, WARM_UP + CALLS))
    times = times[WARM_UP:] if len(times) > 2 * WARM_UP else times[1:]
    batch = min(_times(served, many, THROUGHPUT_CALLS))
    return {
        "latency_p50_ms": round(float(np.percentile(times, 50)) * 1e3, 4),
        "latency_p99_ms": round(float(np.percentile(times, 99)) * 1e3, 4),
        "throughput_images_per_s": round(THROUGHPUT_BATCH / batch, 1),
    }


def _times(served: Any, inputs: dict[str, np.ndarray], calls: int) -> list[float]:
    """Time ``calls`` calls in seconds, or fewer after ``MAX_SECONDS``, but at least ``MIN_CALLS``."""
    times: list[float] = []
    while len(times) < calls and (len(times) < MIN_CALLS or sum(times) < MAX_SECONDS):
        times.append(_seconds(served, inputs))
    return times


def _seconds(served: Any, inputs: dict[str, np.ndarray]) -> float:
    start = time.perf_counter()
    served.predict(inputs)
    return time.perf_counter() - start


def latency_file(workspace: Workspace, run: str) -> Path:
    """Return the path of the figures of the run's latest export."""
    return settings.WORK / "latency" / f"{workspace.registered_name(run)}.json"


def write_latency(workspace: Workspace, run: str, export: str, figures: dict[str, float]) -> None:
    """Write ``figures`` of the export with the key ``export``."""
    path = latency_file(workspace, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({"export": export, **figures}, sort_keys=True) + "\n").encode())


def has_latency(workspace: Workspace, run: str, export: str) -> bool:
    """Return whether this machine has measured the export with the key ``export``."""
    path = latency_file(workspace, run)
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("export") == export
