"""``python -m components.stages.fetch`` as DVC runs it, and the folder that it leaves."""

import inspect
import json
import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from components.core.config.params import DatasetSettings
from components.core.config.strict import resolve
from components.core.files import fresh_folder
from components.core.settings import ROOT
from components.stages.fetch import SOURCES

PARAMS = """\
root: .
seed: 1
pipeline: {runs: []}
datasets:
  digits: {source: digits, path: DIGITS}
  broken: {source: folder, path: images}
views: {}
runs: {}
links: {}
detect: {}
ood: {}
"""


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    (folder / "images").mkdir(parents=True)
    (folder / "params.yaml").write_text(PARAMS.replace("DIGITS", str(ROOT / "components/stages/fetch/built_in.txt")))
    return folder


def command(workspace, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "components", "fetch", *arguments]
    return subprocess.run(line, cwd=workspace, env=environment, capture_output=True, text=True, check=False)


def test_digits(workspace):
    """Against scikit-learn's own values: 0, 8 and 16 are 0, 128 and 255."""
    done = command(workspace, "digits")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "digits: arrays, splits all, 10 label classes, 0.1 MB -> outputs/datasets/digits\n"
    out = workspace / "outputs/datasets/digits"
    assert json.loads((out / "dataset.json").read_text()) == {
        "layout": "arrays",
        "splits": {"all": {"image": "all.image.npy", "label": "all.label.npy"}},
        "classes": {"label": list("0123456789")},
    }
    image, label = np.load(out / "all.image.npy"), np.load(out / "all.label.npy")
    assert image.shape == (1797, 8, 8)
    assert image.dtype == np.uint8
    assert len(np.unique(image)) == 17
    assert image[0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0
    assert label[:10].tolist() == list(range(10))
    assert label.dtype == np.int64


def test_error_is_one_plain_line_and_leaves_nothing(workspace):
    done = command(workspace, "broken")
    assert done.returncode == 2
    assert "no class folders" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((workspace / "outputs/datasets").iterdir()) == []


def test_unknown_name_and_missing_argument(workspace):
    assert "did you mean 'digits'" in command(workspace, "digit").stderr
    assert "usage: python -m components STAGE NAME" in command(workspace).stderr


def test_fresh_folder_takes_the_place_only_when_all_went_well(tmp_path):
    out = tmp_path / "a" / "out"
    with fresh_folder(out) as temporary:
        (temporary / "first").write_text("1")
        assert not out.exists()
    with suppress(RuntimeError), fresh_folder(out) as temporary:
        (temporary / "second").write_text("2")
        raise RuntimeError
    assert [path.name for path in out.parent.rglob("*")] == ["out", "first"]
    with fresh_folder(out) as temporary:
        (temporary / "third").write_text("3")
    assert [path.name for path in out.parent.rglob("*")] == ["out", "third"]


def test_fresh_folder_clears_what_a_killed_run_left(tmp_path):
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "half").write_text("")
    with fresh_folder(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_keeps_the_promise(name):
    source = resolve(SOURCES, name, "source")
    assert issubclass(source.Settings, DatasetSettings)
    assert list(inspect.signature(source.fetch).parameters) == ["settings", "out", "seed", "workspace"]
