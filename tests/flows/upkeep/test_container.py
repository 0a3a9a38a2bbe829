"""``doctor --container``: what a night run needs, one line each."""

from __future__ import annotations

from typing import Any

import pytest

from flows.__main__ import main
from flows.upkeep import container, storage


def test_what_is_missing_is_named_and_the_other_trials_go_on(new: Any, monkeypatch: Any, capsys: Any) -> None:
    for variable in container.PROXIES:
        monkeypatch.delenv(variable, raising=False)
    assert main(["doctor", "--container", "--project", str(new.folder)]) == 0, capsys.readouterr().out
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [f"ok     {name}" for name in container.TRIALS]
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(storage, "LEAST_DISK", 1e18)
    monkeypatch.setattr(container, "EARLIEST", 1e11)
    (new.folder / "outputs").mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(new.folder / "params.yaml"))
    assert main(["doctor", "--container", "--project", str(new.folder)]) == 1
    output = capsys.readouterr().out
    failed = [line.split(": ")[0].split()[1] for line in output.splitlines() if line.startswith("FAILED")]
    assert failed == ["home", "disk", "clock", "proxy", "dvc"], output
    assert output.splitlines()[-1] == f"{len(container.TRIALS)} trials, 5 failed"


def test_a_folder_that_cannot_be_written_is_named(new: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "NamedTemporaryFile", refused)
    trial = container._tried("folders", container.folders, new.project())
    assert trial.fault is not None
    assert trial.fault.startswith(f"{new.folder}: Permission denied")
