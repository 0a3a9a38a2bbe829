"""The final table names the report that there is: the published page, else that of the stage."""

from pathlib import Path

import pytest
from workbench import toy_params, write_params

from components.core import settings
from flows.pipeline.report import metrics_rows
from flows.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    write_params(tmp_path, toy_params())
    monkeypatch.setattr(settings, "WORK", tmp_path / ".work")
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, None)


def test_the_address_of_the_published_page_comes_first(project, tmp_path):
    (row,) = metrics_rows(project, ["toy"])
    assert row["report"] == "outputs/evaluate/toy/report/index.html"
    page = tmp_path / ".work" / "reports" / project.workspace.registered_name("toy") / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("page")
    (row,) = metrics_rows(project, ["toy"])
    assert row["report"] == str(page.relative_to(tmp_path))
