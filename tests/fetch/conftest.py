"""No test of this folder leaves a trace in the repository's own .work, waits long, or asks a mirror that it did not set."""

import pytest

from components.stages.fetch.downloads import published, transfer


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
