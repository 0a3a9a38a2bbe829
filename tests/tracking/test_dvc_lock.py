"""Keys from dvc.lock, and the answer to "is it published?" that needs no MLflow."""

import fcntl
import json
import subprocess
import sys
import threading

import pytest
import yaml

from components.core.config.strict import SettingsError
from components.registry.record.dvc_lock import content_key, export_key, lock_digest, stage_entry
from components.registry.record.published import (
    Publication,
    evaluation_key,
    marker,
    note_published,
    published,
    store,
    tracking_uri,
)


def test_an_entry_is_what_a_whole_parse_of_the_file_gives(home):
    whole = yaml.safe_load((home.folder / "dvc.lock").read_text())["stages"]
    for stage in ("train@small", "export@small", "export@small_too"):  # first, middle, last; one name begins another
        assert stage_entry(home.workspace, stage) == whole[stage]


def test_what_dvc_is_in_the_midst_of_writing_is_not_read(home):
    """DVC empties the file, then writes it, both with its lock held: else an entry is missing, or half of it there."""
    whole = (home.folder / "dvc.lock").read_text()
    expected = stage_entry(home.workspace, "export@small")
    lock = home.folder / ".dvc" / "tmp" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    found = []
    reader = threading.Thread(target=lambda: found.append(stage_entry(home.workspace, "export@small")))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        home.write("dvc.lock", whole[: whole.index("export@small")])
        reader.start()
        reader.join(0.2)
        assert found == []
        home.write("dvc.lock", whole)
    reader.join(10)
    assert found == [expected]


def test_a_value_of_several_lines_belongs_to_its_entry(home):
    home.write("dvc.lock", "stages:\n  export@small:\n    cmd: |\n      a\n\n      b\n    outs: []\n  other@x:\n    cmd: c\n")
    assert stage_entry(home.workspace, "export@small") == {"cmd": "a\n\nb\n", "outs": []}


def test_the_key_is_of_the_entry_alone(home):
    before, digest = export_key(home.workspace, "small"), lock_digest(home.workspace)
    text = (home.folder / "dvc.lock").read_text()
    home.write("dvc.lock", text.replace("md5: 0a", "md5: ff").replace("cmd: another", "cmd: more"))
    assert (export_key(home.workspace, "small"), lock_digest(home.workspace) == digest) == (before, False)
    home.lock("ff")
    assert export_key(home.workspace, "small") != before


def test_the_key_does_not_depend_on_the_order_of_mappings():
    assert content_key({"a": 1, "b": [1, 2]}) == content_key({"b": [1, 2], "a": 1}) != content_key({"a": 1, "b": [2, 1]})


def test_missing_entries_and_files_say_what_makes_them(home):
    with pytest.raises(SettingsError, match=r"no entry export@other .* `dvc repro export@other`"):
        export_key(home.workspace, "other")
    (home.folder / "dvc.lock").unlink()
    with pytest.raises(SettingsError, match=r"dvc\.lock: no such file"):
        export_key(home.workspace, "small")


def record(home) -> Publication:
    workspace = home.workspace
    return Publication(export_key(workspace, "small"), evaluation_key(workspace, "small"), tracking_uri(), 3, "r")


@pytest.mark.parametrize("change", ["lock", "metrics", "settings", "server", "database", "marker", "other marker"])
def test_published_notices_every_change(home, change: str, monkeypatch: pytest.MonkeyPatch):
    workspace = home.workspace
    assert published(workspace, "small") is None
    note_published(workspace, "small", record(home))
    assert published(workspace, "small") == record(home)
    if change == "lock":
        home.lock("ff")
    elif change == "metrics":
        home.evaluation(0.5)
    elif change == "settings":
        text = (home.folder / "params.yaml").read_text()
        home.write("params.yaml", text.replace("split: test", "split: train"))
        workspace = type(workspace)(home.folder)
    elif change == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    elif change == "database":
        (store() / "mlflow.db").unlink()
    elif change == "marker":
        marker(workspace, "small").unlink()
    else:
        marker(workspace, "small").write_text(json.dumps({"key": "of an old version"}))
    assert published(workspace, "small") is None


def test_published_imports_no_mlflow_and_is_quick(home, environment):
    note_published(home.workspace, "small", record(home))
    code = (
        "import sys, time\n"
        "from components.core.settings import Workspace\n"
        "from components.registry.tracking import live_curves, publish, published\n"
        "workspace = Workspace('.'); workspace.params\n"
        "start = time.perf_counter(); found = published(workspace, 'small'); took = time.perf_counter() - start\n"
        "loaded = [name for name in ('mlflow', 'torch', 'pandas') if name in sys.modules]\n"
        "print(found.version, loaded, took < 0.2)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=home.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "3 [] True\n", done.stderr
