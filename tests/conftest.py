"""Fixtures and an environment for every test: no telemetry, no news from servers."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
# Before torch and numpy are imported: as many workers run as there are cores, and more threads would wait for each other.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

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


@pytest.fixture
def mirror() -> Path:
    """The folder of real data."""
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: no real data here")
    return Path(os.environ["DATA_MIRROR"])
