"""Places at which a clone cannot be: one refusal before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.core import settings
from components.core.config.strict import SettingsError
from flows.__main__ import main
from flows.pipeline.place import check_place


@pytest.mark.parametrize("character", ["?", "%", ":"])
def test_a_character_in_the_path_is_named(character: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / f"my{character}clone"
    monkeypatch.setattr(settings, "WORK", root / ".work")
    with pytest.raises(SettingsError) as caught:
        check_place(root)
    assert str(caught.value).startswith(f"{root}: the clone cannot be there: {character!r} breaks ")
    assert len(str(caught.value).splitlines()) == 1
    monkeypatch.setattr(settings, "WORK", root)
    with pytest.raises(SettingsError, match="the state folder"):
        check_place(tmp_path)
    monkeypatch.setattr(settings, "WORK", tmp_path)
    check_place(tmp_path / "é and #")


def test_nothing_is_done_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "a:b"
    root.mkdir()
    assert main(["plan", "--project", str(root)]) == 2
    assert "':' breaks PATH" in capsys.readouterr().err
    assert not list(root.iterdir())
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "outputs").symlink_to(root)
    assert main(["run", "--project", str(tmp_path / "clone")]) == 2
    assert "outputs: a link to" in capsys.readouterr().err
