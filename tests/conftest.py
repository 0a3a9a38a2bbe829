"""Fixtures and an environment for every test: no telemetry, no news from servers."""

import functools
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
# Before torch and numpy are imported: as many workers run as there are cores, and more threads would wait for each other.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Tests write some 60,000 small files, programs among them: into memory, where there is enough of it.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30 and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# A worker takes a whole file: what takes minutes begins first, so that no other worker waits for it at the end.
LONGEST = (
    "test_project",
    "test_promises",
    "test_flow",
    "test_stages",
    "test_carry",
    "test_chaos",
    "test_schedules",
    "test_training_with_processes",
    "test_end_to_end",
    "test_up",
    "test_secrets",
    "test_workers",
    "test_pipeline",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others as they are."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """What is imported stays to the end: the collector of garbage need not walk it again and again."""
    if "torch" in sys.modules:
        one_table_of_operators()
    gc.collect()
    gc.freeze()


def one_table_of_operators() -> None:
    """Let the ONNX exporter keep its table of operators, which it makes anew for each export (0.6 s) and only reads."""
    import torch

    export = torch.onnx.export

    def with_one_table(*args: Any, **kwargs: Any) -> Any:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        make = ONNXRegistry.from_torchlib.__func__
        if not hasattr(make, "cache_info"):
            ONNXRegistry.from_torchlib = classmethod(functools.cache(make))
        return export(*args, **kwargs)

    torch.onnx.export = with_one_table


@pytest.fixture(scope="module", params=["torch", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def runtime(request: pytest.FixtureRequest) -> Iterator[str]:
    """What answers for the graphs that are exported within it: torch, and in the slow tests ONNX Runtime."""
    from runtimes import answered_by_torch

    with answered_by_torch() if request.param == "torch" else nullcontext():
        yield request.param


@pytest.fixture
def mirror() -> Path:
    """The folder of real data."""
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: no real data here")
    return Path(os.environ["DATA_MIRROR"])
