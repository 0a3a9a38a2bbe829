"""Served code and what is shipped beside it, loaded as packages that know nothing of each other."""

import inspect
import sys
from pathlib import Path

import pytest

from components.export.__main__ import copy_linked
from components.serving.loading import load_linked, load_served

SERVED = """
import importlib
shipped = importlib.import_module(".serving.loading", __name__).shipped
class Served:
    def __init__(self, folder):
        self.folder = folder
    def number(self):
        return shipped(__name__, "models.number").NUMBER  # as torch's part is: when it is needed
"""


def export(folder, number):
    for path, text in {
        "served.py": SERVED,
        "code/models/number.py": "from ..other.base import BASE\nNUMBER = BASE + 1\n",
        "code/other/base.py": f"BASE = {number}\n",
        "code/serving/loading.py": Path(inspect.getfile(load_served)).read_text(),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_two_versions_live_in_one_process_and_leave_nothing_in_their_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folders = [export(tmp_path / str(number), number) for number in (10, 20)]
    before = sorted(tmp_path.rglob("*"))
    assert [load_served(folder).number() for folder in folders] == [11, 21]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_linked_export_travels_along(tmp_path):
    class Workspace:
        folder = tmp_path

        def links(self, run, stage):
            return {"classifier": tmp_path / "pointer"} if (run, stage) == ("mine", "export") else {}

    export(tmp_path / "theirs", 3)
    (tmp_path / "pointer").write_text('{"path": "theirs", "md5": ""}')
    copy_linked(Workspace(), "mine", tmp_path / "out")
    assert load_linked(tmp_path / "out", "classifier").number() == 4
    assert load_linked(tmp_path / "out", "base") is None
    with pytest.raises(FileNotFoundError):
        load_served(tmp_path / "nowhere")
