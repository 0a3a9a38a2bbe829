"""Latency of several exports at batch 1 on one thread: interleaved, in several processes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core.settings import ROOT

MODULE = "components.registry.latency.timing"
PROCESSES = 3
QUIET = 0.95  # share of a core that the measurement should have had
LAST_LINES = 3  # of a failed process


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one ``predict`` with one input on one thread.

    ``median_ms`` and ``p99_ms`` are medians over the processes; ``low_ms`` to ``high_ms`` is the range of their medians.
    ``cpu_share``: CPU time per elapsed time of the busiest process; below ``QUIET`` other work disturbed the measurement.
    """

    median_ms: float
    p99_ms: float
    low_ms: float
    high_ms: float
    calls: int
    cpu_share: float

    @property
    def quiet(self) -> bool:
        """Whether the machine left a core to the measurement."""
        return self.cpu_share >= QUIET


def measure_together(exports: Mapping[str, Path], processes: int = PROCESSES) -> dict[str, Latency]:
    """Measure the export folders under their names. They take turns in each of ``processes`` fresh processes.

    So noise of the machine meets all of them, and the layout of one process's memory decides nothing. RuntimeError if a
    process fails.
    """
    if not exports:
        return {}
    folders = list(exports.values())
    parts = [_in_a_process(folders) for _ in range(processes)]
    share = min(float(part["cpu_share"]) for part in parts)
    return {name: summarise([part["seconds"][index] for part in parts], share) for index, name in enumerate(exports)}


def summarise(seconds: Sequence[Sequence[float]], cpu_share: float) -> Latency:
    """Summarise the seconds of the calls, a list per process."""
    medians = [float(np.median(times)) * 1e3 for times in seconds]
    tails = [float(np.percentile(times, 99)) * 1e3 for times in seconds]
    middle, tail = float(np.median(medians)), float(np.median(tails))
    middle, tail, low, high = (round(value, 4) for value in (middle, tail, min(medians), max(medians)))
    return Latency(middle, tail, low, high, sum(map(len, seconds)), round(cpu_share, 3))


def machine() -> str:
    """Name the machine: processor, number of cores, versions of ONNX Runtime and of the system."""
    from components.serving.session import onnxruntime

    return f"{processor()}, {os.cpu_count()} cores, ONNX Runtime {onnxruntime.__version__}, {platform.system()}"


def processor() -> str:
    """Return the processor's name, as Linux reports it, or else Python."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _in_a_process(folders: list[Path]) -> dict[str, Any]:
    threads = {"DARKROOM_SERVED_THREADS": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", MODULE, *(str(folder.resolve()) for folder in folders)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("the measurement failed: " + " / ".join(done.stderr.strip().splitlines()[-LAST_LINES:]))
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
