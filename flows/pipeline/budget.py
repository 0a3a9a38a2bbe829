"""Budget of CPU cores and GPUs, shared by the stages of one flow run."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Cores:
    """Fair semaphore over ``total`` cores: first come, first served, so that a stage that needs many is not starved."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._change = threading.Condition()

    @contextmanager
    def take(self, number: int) -> Iterator[None]:
        """Hold ``number`` cores, at most ``total``."""
        number = min(number, self.total)
        ticket = object()
        with self._change:
            self._waiting.append(ticket)
            self._change.wait_for(lambda: self._waiting[0] is ticket and self._free >= number)
            self._waiting.popleft()
            self._free -= number
            self._change.notify_all()
        try:
            yield
        finally:
            with self._change:
                self._free += number
                self._change.notify_all()


class Devices:
    """GPUs by index; each is used by one stage at a time."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._free = list(range(number))
        self._slots = Cores(number)

    @contextmanager
    def take(self, number: int = 1) -> Iterator[tuple[int, ...]]:
        """Hold ``number`` devices, at most all; yield their indices as the stage will see them."""
        number = min(number, self.number)
        with self._slots.take(number):  # all at once: two stages with half of their devices each would deadlock
            devices = tuple(self._free.pop(0) for _ in range(number))
            try:
                yield devices
            finally:
                self._free.extend(devices)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def visible_devices(nodes: Path = Path("/dev")) -> int:
    """Count the CUDA devices that a stage would see, by CUDA_VISIBLE_DEVICES or the driver's device files; without torch."""
    if os.environ.get("DARKROOM_DEVICE", "cuda").startswith("cpu"):
        return 0
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is not None:
        return len([name for name in names.split(",") if name.strip() not in ("", "-1")])
    return len(list(nodes.glob("nvidia[0-9]*")))
