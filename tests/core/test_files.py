"""Files that are written whole, in folders that need not be there, with bytes that follow from their content alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from components.core.files import is_locked, locked, read_arrays, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_json_has_the_same_bytes_for_the_same_content(tmp_path: Path) -> None:
    """Else a stage that is repeated would have another hash."""
    for name, content in {"a": {"x": 1, "y": {"b": 2, "a": 3}}, "b": {"y": {"a": 3, "b": 2}, "x": 1}}.items():
        write_json(tmp_path / name, content)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_folders_of_a_file_and_of_a_lock_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "new/folder/a.json", {"x": 1})
    assert read_json(tmp_path / "new/folder/a.json") == {"x": 1}
    lock = tmp_path / "other/folder/lock"
    with locked(lock):
        assert is_locked(lock)
    assert not is_locked(lock)


def test_arrays_come_back_in_their_order_and_pickles_are_refused(tmp_path: Path) -> None:
    """A pickle runs whatever its author wants."""
    path = tmp_path / "arrays.npz"
    write_arrays(path, {"b": np.arange(3), "a": np.eye(2)})
    back = read_arrays(path)
    assert list(back) == ["b", "a"]
    np.testing.assert_array_equal(back["a"], np.eye(2))
    np.savez(path, a=np.array([{"any": "object"}]))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(path)
