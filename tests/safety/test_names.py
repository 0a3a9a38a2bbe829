"""Names and paths of params.yaml that would mean something to a shell, to MLflow's queries or to a file system are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbench import toy_params, write_params

from components.command import block_name
from components.core.config.strict import SettingsError
from components.core.settings import Workspace


@pytest.mark.parametrize("root", [".; rm -rf x", "$(id)", "a b", "it's", "`id`", "a\nb", "", "..\\.."])
def test_a_root_that_a_shell_would_read(tmp_path: Path, root: str) -> None:
    write_params(tmp_path, toy_params() | {"root": root})
    with pytest.raises(SettingsError, match=r"root: .* is not allowed"):
        _ = Workspace(tmp_path).params


@pytest.mark.parametrize("name", ["it's", "a b", "a;b", "-x", "x' or name like '%"])
def test_a_study_whose_name_would_end_a_query(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "experiments" / name
    folder.mkdir(parents=True)
    write_params(folder, toy_params())
    with pytest.raises(SettingsError, match="a study's folder is named with letters, digits"):
        _ = Workspace(folder).params


@pytest.mark.parametrize("name", ["a;b", "a'b", "../x", "a b", "A", "-x", "a\n", "x" * 64, ""])
@pytest.mark.parametrize("section", ["datasets", "views", "runs", "links"])
def test_a_block_whose_name_is_more_than_a_name(tmp_path: Path, section: str, name: str) -> None:
    params = toy_params()
    params[section][name] = next(iter(params[section].values()))
    write_params(tmp_path, params)
    workspace = Workspace(tmp_path)
    with pytest.raises(SettingsError, match=rf"{section}\.(.|\n)* is not allowed"):
        workspace.block(section, name)
    assert name not in getattr(workspace.params, section)
    with pytest.raises(SettingsError, match="is no name"):
        block_name(f"train@{name}")


def test_a_stage_knows_its_block_by_dvcs_name_for_it() -> None:
    for given in ("digits", "train@digits", "dvc.yaml:train@digits", "../mnist/dvc.yaml:train@digits"):
        assert block_name(given) == "digits"
