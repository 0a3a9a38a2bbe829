"""A stage runs the code of its digest, or does not start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from workbench import environment, toy_params, write_params

from components.core import settings
from components.core.inputs.code import Sources, frozen
from components.core.settings import ROOT, Workspace
from components.stages.code import current, digest, stage
from components.stages.code.closure import COMPONENTS

FILE = str(COMPONENTS / "stages" / "link" / "wire.py")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with a digest of stage ``wire`` of run "a"."""
    monkeypatch.setattr(settings, "WORK", tmp_path / "work")
    params = toy_params()
    params["runs"] = {"a": params["runs"]["toy"] | {"recipe": "classification", "model": {"name": "resnet18"}}}
    params |= {"links": {}, "pipeline": {"runs": ["a"]}}
    write_params(tmp_path, params)
    workspace = Workspace(tmp_path)
    for kind in ("wire", "export"):
        path = tmp_path / "outputs" / "code" / kind / "a.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(stage.digests_of(workspace, kind, "a")))
    return workspace


@pytest.fixture(scope="module")
def texts() -> dict[str, bytes]:
    return Sources(COMPONENTS).texts


def edited(workspace: Workspace, texts: dict[str, bytes], kind: str = "wire") -> list[str]:
    return current.edited_files(workspace, kind, "a", texts)


def test_comments_are_no_edit_and_statements_are(workspace: Workspace, texts: dict[str, bytes]) -> None:
    assert edited(workspace, texts) == []
    assert edited(workspace, {**texts, FILE: b"# more\n" + texts[FILE]}) == []
    for other in (texts[FILE] + b"\nmore = 1\n", texts[FILE] + b"\ndef half(", b"\xff"):
        assert edited(workspace, {**texts, FILE: other}) == ["components/stages/link/wire.py"]
    assert edited(workspace, {path: text for path, text in texts.items() if path != FILE}) == ["components/stages/link/wire.py"]


def test_what_is_shipped_is_compared_by_its_bytes(workspace: Workspace, texts: dict[str, bytes]) -> None:
    served = str(COMPONENTS / "families" / "classification" / "served.py")
    assert edited(workspace, texts, "export") == []
    other = {**texts, served: b"# more\n" + texts[served]}
    assert edited(workspace, other, "export") == ["shipped: components/families/classification/served.py"]


def test_the_digest_of_another_recipe_is_not_the_runs(workspace: Workspace, texts: dict[str, bytes]) -> None:
    params = json.loads((workspace.folder / "params.yaml").read_text())
    params["runs"]["a"]["model"]["name"] = "vit"
    write_params(workspace.folder, params)
    assert edited(Workspace(workspace.folder), texts, "export") == ["components/networks/vit.py"]


def test_a_text_is_parsed_once(workspace: Workspace, texts: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert edited(workspace, texts) == []
    monkeypatch.setattr(digest, "text_digest", lambda text, name: pytest.fail(f"{name} is parsed"))
    assert edited(workspace, texts) == []
    for content in ("", "[]", '{"version": 1, "digests": {}}'):
        (settings.WORK / "digests.json").write_text(content)
        with pytest.raises(pytest.fail.Exception, match="is parsed"):
            edited(workspace, texts)


def test_modules_are_imported_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited, deleted or replaced within the second, by which Python tells byte code of another text."""
    package = tmp_path / "frozen_package"
    package.mkdir()
    for name in ("__init__", "kept", "edited", "seen"):
        (package / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert value(tmp_path, "seen") == "1"  # leaves byte code
    (package / "seen.py").write_text("value = 2\n")
    with frozen(Sources(package)):
        (package / "edited.py").write_text("value = 3\n")
        from frozen_package import edited, kept, seen  # type: ignore[import-not-found]

        assert (kept.value, edited.value, seen.value) == (1, 1, 2)
    assert value(tmp_path, "edited") == "3"
    assert value(tmp_path, "kept") == "1"


def value(folder: Path, module: str) -> str:
    """What another process imports."""
    command = [sys.executable, "-c", f"from frozen_package.{module} import value; print(value)"]
    env = environment(PYTHONPATH=str(folder))
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def test_a_worker_that_imports_edited_code_ends_the_stage(tmp_path: Path) -> None:
    program = "import components.core.runtime as runtime; runtime.require_code_at_start()"
    path = ROOT / "components" / "core" / "runtime.py"
    state = path.stat()
    started = {"folder": "x", "stage": "train@a", "text": "", "record": "{}"}
    for mtime, code in ((state.st_mtime_ns, 0), (state.st_mtime_ns - 1, 1)):
        started["code"] = {str(path): [mtime, state.st_size, state.st_ino], "/never/imported.py": [0, 0, 1]}  # type: ignore[assignment]
        (tmp_path / "started.json").write_text(json.dumps(started))
        env = environment(PYTHONPATH=str(ROOT), DARKROOM_INPUTS=str(tmp_path / "started.json"))
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert (code == 0) == ("runtime.py changed while train@a ran" not in done.stderr)
