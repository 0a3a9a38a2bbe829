"""Counts of what one version answered, in slices of ten minutes: a file per server process below ``.work/traffic``."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.files import read_json, this_process, write_json

SLICE = 600  # seconds
KEPT = 8 * 86400  # seconds for which a process keeps its slices
STEPS = 4  # latency classes per doubling: each is 19 % wide
FASTEST = 1e-4  # seconds; faster answers are in class 0
FLUSH = 1.0  # seconds between two writes; a killed process loses as much
COUNTS = ("requests", "failed", "refused", "pictures", "rejected")


@dataclass
class Traffic:
    """Counts. ``failed``: answers of 500 and more, ``refused``: of 400 to 499; ``latency``: class -> answers.

    ``pictures``: those that a detector judged, of which ``rejected`` are unlike the training images.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    pictures: int = 0
    rejected: int = 0
    latency: Counter[int] = field(default_factory=Counter)

    @property
    def errors(self) -> int:
        """Requests that were not answered with a prediction."""
        return self.failed + self.refused

    def add(self, content: dict[str, Any]) -> None:
        """Add the counts of a slice, as ``to_json`` gives them."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + int(content[name]))
        self.latency.update({int(number): int(count) for number, count in content["latency"].items()})

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {name: getattr(self, name) for name in COUNTS} | {"latency": {str(n): c for n, c in self.latency.items()}}

    def quantile(self, share: float) -> int:
        """Return the latency class that ``share`` of the answers do not exceed; ValueError without answers."""
        left = share * self.latency.total()
        for number, count in sorted(self.latency.items()):
            left -= count
            if left <= 0:
                return number
        raise ValueError("no latency was counted")


def latency_class(seconds: float) -> int:
    """Return the class of a latency."""
    return max(0, math.ceil(STEPS * math.log2(seconds / FASTEST))) if seconds > FASTEST else 0


def milliseconds(number: int) -> float:
    """Return the upper bound of a latency class."""
    return 1000 * FASTEST * 2 ** (number / STEPS)


class Recorder:
    """The counts of this process for a version. Thread-safe; a thread writes them once a second if there are new ones."""

    def __init__(self, name: str, version: int, key: str) -> None:
        self._path = folder(name, version, key) / f"{this_process().replace(':', '-').replace('/', '-')}.json"
        self._slices: dict[int, Traffic] = {}
        self._lock = threading.Lock()
        self._new = False
        threading.Thread(target=self._write_forever, daemon=True).start()

    def answered(self, status: int, seconds: float) -> None:
        """Count the answer to a request for a prediction. Only good answers tell how fast the model is."""
        with self._lock:
            traffic = self._now()
            traffic.requests += 1
            traffic.failed += status >= 500
            traffic.refused += 400 <= status < 500
            if status < 400:
                traffic.latency[latency_class(seconds)] += 1

    def judged(self, pictures: int, rejected: int) -> None:
        """Count pictures that the version's detector judged."""
        with self._lock:
            traffic = self._now()
            traffic.pictures += pictures
            traffic.rejected += rejected

    def flush(self) -> None:
        """Write the counts, if there are new ones. A full disk loses them and stops no answer."""
        with self._lock:
            if not self._new:
                return
            self._new = False
            content = {str(start): traffic.to_json() for start, traffic in self._slices.items()}
        try:
            write_json(self._path, content)
        except OSError:
            self._new = True

    def _now(self) -> Traffic:
        start = int(time.time()) // SLICE * SLICE
        self._new = True
        if start not in self._slices:
            self._slices = {at: old for at, old in self._slices.items() if at > start - KEPT} | {start: Traffic()}
        return self._slices[start]

    def _write_forever(self) -> None:
        while True:
            time.sleep(FLUSH)
            self.flush()


def folder(name: str, version: int, key: str) -> Path:
    """Return the folder of a version's counts; its export's ``key`` is in it, since a rebuilt registry reuses numbers."""
    return settings.WORK / "traffic" / name / f"{version}-{key[:12]}"


def read_traffic(name: str, version: int, key: str, since: datetime, until: datetime) -> Traffic:
    """Sum what this machine's scoring servers answered with the version, in the slices from ``since`` to ``until``."""
    total = Traffic()
    for start, content in _slices(folder(name, version, key)):
        if since.timestamp() - SLICE < start <= until.timestamp():
            total.add(content)
    return total


def _slices(place: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for path in sorted(place.glob("*.json")):
        for start, content in read_json(path).items():
            yield int(start), content
