"""Studies' dvc.yaml are the root's, as files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from components.core.settings import ROOT
from flows.__main__ import main
from flows.dvc import graph_files

Capture = Any


def test_the_studies_of_this_repository_have_the_roots_graph() -> None:
    assert graph_files.differing(ROOT) == []


def test_other_graphs_and_links_are_named_and_written(done: Any, capsys: Capture) -> None:
    names = [done.study(name).name for name in ("copied", "linked", "edited", "missing")]
    graphs = {name: done.folder / "experiments" / name / "dvc.yaml" for name in names}
    for name in ("linked", "missing"):
        graphs[name].unlink()
    graphs["linked"].symlink_to("../../dvc.yaml")
    graphs["edited"].write_text(graphs["edited"].read_text() + "# mine\n")
    root = (done.folder / "dvc.yaml").read_bytes()

    assert main(["graph", "--check", "--project", str(done.folder)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: experiments/edited/dvc.yaml differs from dvc.yaml; `python -m flows graph` writes it"
    assert [line.split("/")[1] for line in said] == ["edited", "linked", "missing"]
    assert main(["graph", "--project", str(done.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "wrote experiments/linked/dvc.yaml"
    assert all(path.read_bytes() == root and not path.is_symlink() for path in graphs.values())
    assert (done.folder / "dvc.yaml").read_bytes() == root
    assert main(["graph", "--check", "--project", str(done.folder)]) == 0


def test_a_study_with_another_graph_starts_nothing(done: Any, capsys: Capture) -> None:
    path = done.study("edited") / "dvc.yaml"
    path.write_text(path.read_text() + "# mine\n")
    for command in ("run", "plan"):
        assert main([command, "--study", "edited", "--project", str(done.folder)]) == 2
        assert capsys.readouterr().err == f"error: {path} differs from the root's dvc.yaml; `python -m flows graph` writes it\n"
    shutil.copyfile(done.folder / "dvc.yaml", path)
    check = {"check": lambda project, plan: None}  # of settings, which are not those of a recipe
    assert main(["plan", "--study", "edited", "--project", str(done.folder)], **check) == 0


def test_a_folder_without_studies_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    assert graph_files.differing(tmp_path) == graph_files.write(tmp_path) == []
