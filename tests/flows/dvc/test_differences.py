"""What the plan says of a changed value."""

from datetime import date
from types import SimpleNamespace

from flows.dvc.differences import changed_files, changed_values

KEY = "runs.a.train"


def values(before, after):
    dep = SimpleNamespace(hash_info=SimpleNamespace(value=before), read_params=lambda: after)
    return changed_values(dep, [KEY])


def test_what_changed_went_and_came_is_told_from_what_stayed():
    before = {KEY: {"rate": 0.1, "gone": 1, "same": 2, "deep": {"x": True, "y": None}}}
    after = {KEY: {"rate": 0.2, "same": 2, "deep": {"x": False, "y": None}, "new": ["é", date(2026, 1, 2)]}}
    assert values(before, after) == [
        f"{KEY}.rate: 0.1 -> 0.2",
        f"{KEY}.gone: 1 removed",
        f"{KEY}.deep.x: true -> false",
        f'{KEY}.new: ["é", "2026-01-02"] added',
    ]
    assert values(None, {KEY: 1}) == [f"{KEY}: 1 added"]
    assert values({KEY: {"a": 1}}, {KEY: 2}) == [f'{KEY}: {{"a": 1}} -> 2']


def test_of_many_four_are_named():
    before, after = ({KEY: dict.fromkeys("abcde", value)} for value in (1, 2))
    assert values(before, after) == [*(f"{KEY}.{name}: 1 -> 2" for name in "abcd"), "1 more values changed"]
    del after[KEY]["e"], before[KEY]["e"]
    assert len(values(before, after)) == 4


def test_a_long_value_is_cut_and_its_end_is_compared():
    assert values({KEY: "x" * 40}, {KEY: "y" * 41}) == [f"{KEY}: {'x' * 40} -> {'y' * 37}..."]
    before, after = ({KEY: {"long": "x" * 500, "short": value}} for value in (1, 2))
    assert values(before, after) == [f"{KEY}.short: 1 -> 2"]
    assert len(values({KEY: "x" * 500 + "a"}, {KEY: "x" * 500 + "b"})) == 1


def test_of_a_folder_whose_files_are_not_known_nothing_is_said(tmp_path):
    assert changed_files(tmp_path, SimpleNamespace(hash_info=None, fs_path=str(tmp_path))) == ""
    assert changed_files(tmp_path, SimpleNamespace(hash_info=SimpleNamespace(value="0.dir"), fs_path=str(tmp_path))) == ""
