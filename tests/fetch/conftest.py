"""No test of this folder leaves a trace in the repository's own .work, waits long, or asks a mirror that it did not set."""

import os
from pathlib import Path

import pytest

from components.stages.fetch.downloads import published, transfer

MIRROR = os.environ.get("DATA_MIRROR")


@pytest.fixture
def real_data():
    """The folder of real data, which tests of sources read as a user's own."""
    if not MIRROR:
        pytest.skip("DATA_MIRROR is not set: no real data here")
    return Path(MIRROR).absolute()


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
