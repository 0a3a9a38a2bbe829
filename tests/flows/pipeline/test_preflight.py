"""Versions and settings that stop a run before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.core.config.strict import SettingsError
from components.core.settings import ROOT
from components.versions import check_versions
from flows.pipeline.plan import make_plan
from flows.pipeline.preflight import check_settings


def test_this_installation_is_as_locked() -> None:
    check_versions(ROOT)


def test_other_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("prefect==3.9.9  # why\nSQLAlchemy==9.0\ntorch==2.13.0+cpu\nunrelated==0.1\n")
    with pytest.raises(SettingsError) as caught:
        check_versions(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  prefect: 3.9.9 is wanted, 3.8.8 is installed"
    assert lines[2].startswith("  sqlalchemy: 9.0 is wanted, ")
    assert len(lines) == 3  # a local tag is no difference, other packages do not matter


def test_missing_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"requirements.lock: no such file"):
        check_versions(tmp_path)


def test_blocks_of_stale_stages_are_parsed(new: Any) -> None:
    project = new.project()
    plan = make_plan(project, ("a",), False, lambda workspace, run: True)
    with pytest.raises(SettingsError, match=r"datasets.d.source: unknown name 'fake'"):
        check_settings(project, plan)


def test_blocks_of_other_stages_are_not(done: Any) -> None:
    project = done.project()
    check_settings(project, make_plan(project, ("a",), False, lambda workspace, run: False))
