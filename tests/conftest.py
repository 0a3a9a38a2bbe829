"""Fixtures and an environment for every test: no telemetry, no news from servers."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")


@pytest.fixture
def mirror() -> Path:
    """The folder of real data."""
    if not os.environ.get("DATA_MIRROR"):
        pytest.skip("DATA_MIRROR is not set: no real data here")
    return Path(os.environ["DATA_MIRROR"])
