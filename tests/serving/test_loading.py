"""Served code and what is shipped beside it, loaded as packages that know nothing of each other."""

import sys

import pytest

from components.core.artifact import Artifact
from components.serving.loading import load_linked, load_served
from components.stages.export.stage import copy_linked

SERVED = """
class Served:
    def __init__(self, folder):
        self.folder = folder
    def number(self):
        from ...networks.number import NUMBER  # as torch's part is: when it is needed
        return NUMBER
"""


def export(folder, number):
    for path, text in {
        "served.py": "from .families.mine.served import Served",
        "code/families/mine/served.py": SERVED,
        "code/networks/number.py": "from ..other.base import BASE\nNUMBER = BASE + 1\n",
        "code/other/base.py": f"BASE = {number}\n",
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
    links = {"classifier": Artifact(export(tmp_path / "theirs", 3), md5="")}
    copy_linked(links, tmp_path / "out")
    assert load_linked(tmp_path / "out", "classifier").number() == 4
    assert load_linked(tmp_path / "out", "base") is None
    with pytest.raises(FileNotFoundError):
        load_served(tmp_path / "nowhere")


OLD_SERVED = """
import importlib
from functools import partial
SHIPPED = ("serving/loading.py", "models/number.py")
shipped = partial(importlib.import_module(".serving.loading", __name__).shipped, __name__)
class Served:
    def __init__(self, folder):
        self.folder = folder
    def number(self):
        return shipped("models.number").NUMBER
"""
OLD_LOADING = """
import importlib
def shipped(served, name):
    return importlib.import_module(f".{name}", served)
"""


def test_an_export_of_an_older_version_still_loads(tmp_path):
    """Served code at the top, which finds what was shipped with it by names in strings: what the registry may still hold."""
    for path, text in {
        "served.py": OLD_SERVED,
        "code/serving/loading.py": OLD_LOADING,
        "code/models/number.py": "NUMBER = 7\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert load_served(tmp_path).number() == 7
