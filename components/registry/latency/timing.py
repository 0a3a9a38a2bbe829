"""Time several exports in this process, taking turns: ``python -m components.registry.latency.timing FOLDER ...``."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BLOCK, MIN_CALLS, MAX_CALLS = 5, 6, 400  # calls per turn, and in all
SECONDS = 2.0  # per export, in measured calls

Call = Callable[[], object]


def one_input(folder: Path) -> dict[str, np.ndarray]:
    """Read the first input of the export's example."""
    with np.load(folder / "example.npz", allow_pickle=False) as arrays:
        return {name: array[:1] for name, array in arrays.items()}


def call_of(folder: Path) -> Call:
    """Return a call of the export's served code with one input."""
    from components.serving.loading import load_served

    served, inputs = load_served(folder), one_input(folder)
    return lambda: served.predict(inputs)


def take_turns(calls: Sequence[Call], clock: Callable[[], float] = time.perf_counter) -> list[list[float]]:
    """Time the calls in turns; return the seconds of each call, a list per entry of ``calls``.

    A turn is one call that is not counted, which fills the caches, and ``BLOCK`` counted ones; the order is reversed from round
    to round. An entry has at most ``MAX_CALLS`` calls, or fewer after ``SECONDS``, but at least ``MIN_CALLS``.
    """
    times: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    while order:
        for index in order:
            calls[index]()
            for _ in range(BLOCK):
                start = clock()
                calls[index]()
                times[index].append(clock() - start)
        order = [index for index in reversed(order) if not _enough(times[index])]
    return times


def _enough(times: list[float]) -> bool:
    return len(times) >= MIN_CALLS and (len(times) >= MAX_CALLS or sum(times) >= SECONDS)


def timed(folders: Sequence[Path]) -> dict[str, Any]:
    """Return ``seconds``, a list per folder, and ``cpu_share``: CPU time per elapsed time, near 1 on a quiet machine."""
    calls = [call_of(folder) for folder in folders]
    gc.disable()
    wall, cpu = time.perf_counter(), time.process_time()
    seconds = take_turns(calls)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return {"seconds": seconds, "cpu_share": share}


if __name__ == "__main__":
    print(json.dumps(timed([Path(word) for word in sys.argv[1:]])))
