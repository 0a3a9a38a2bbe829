"""Cores and devices are never over-booked, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from flows.pipeline.budget import Cores, Devices, visible_devices


def test_cores_are_not_overbooked_and_run_side_by_side() -> None:
    cores, lock = Cores(3), threading.Lock()
    now, most = 0, 0

    def work(number: int) -> None:
        nonlocal now, most
        with cores.take(number):
            with lock:
                now += min(number, 3)
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= min(number, 3)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3, 8, 1, 1, 2) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 3


def test_who_needs_many_cores_is_not_passed_over() -> None:
    cores, order = Cores(2), []

    def work(name: str, number: int) -> None:
        with cores.take(number):
            order.append(name)

    with cores.take(1):
        threads = []
        for name, number in (("big", 2), ("small", 1)):
            threads.append(threading.Thread(target=work, args=(name, number)))
            threads[-1].start()
            time.sleep(0.05)
        assert order == []  # one core is free, but the big one is first in line
    for thread in threads:
        thread.join(5)
    assert order == ["big", "small"]


def test_devices_are_held_by_one() -> None:
    devices = Devices(3)
    with devices.take() as first, devices.take(2) as others:
        assert sorted(first + others) == [0, 1, 2]
    with devices.take(5) as all_there_are:
        assert sorted(all_there_are) == [0, 1, 2]


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, 2),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "3"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,1,5"}, 3),
        ({"CUDA_VISIBLE_DEVICES": "0", "DARKROOM_DEVICE": "cpu"}, 0),
    ],
)
def test_visible_devices(variables: dict[str, str], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    for name in ("CUDA_VISIBLE_DEVICES", "DARKROOM_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert visible_devices(tmp_path) == number
