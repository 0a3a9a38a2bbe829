"""The page of an evaluation is published with what only a publication knows."""

from pathlib import Path

import pytest

from components.registry import publishing
from components.registry.publishing import publish_run
from components.registry.record.outs import RunOutputs
from components.registry.reports.published import REPORT, local_sections, read_table, report_file, write_report
from components.registry.tracking import Server, TrackingUnavailable, publish
from components.stages.evaluate.report.page import Page, Section, Text
from components.stages.evaluate.report.render import render

LATENCY = {"latency_p50_ms": 1.25, "latency_p99_ms": 2.5, "throughput_images_per_s": 4321.5}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(publishing, "measure_latency", lambda served, example: LATENCY)


def write_page(home) -> None:
    home.write("outputs/evaluate/small/report/index.html", render(Page("small", "", [Section("Metrics", [Text(["0.875"])])])))


def logged(home, run: str, folder: Path) -> str:
    path = Server.of(home.workspace).client.download_artifacts(run, "report/index.html", str(folder))
    return Path(path).read_text(encoding="utf-8")


def test_it_has_version_speed_and_lineage_and_is_an_artifact_of_the_run(home, tmp_path, capsys):
    write_page(home)
    publish_run(home.workspace, "small", strict=True)
    html = report_file("study.small").read_text(encoding="utf-8")
    for words in (
        "0.875",
        "study.small version 1",
        "<dd>1.25</dd>",
        "<dd>4,322</dd>",
        "export@small",
        "outputs/export/small (0c.dir)",
    ):
        assert words in html, words
    record = publish(home.workspace, "small")
    assert logged(home, record.run_id, tmp_path) == html
    assert str(report_file("study.small")) in capsys.readouterr().out


def test_it_is_logged_again_only_if_it_changed(home, monkeypatch):
    write_page(home)
    publish_run(home.workspace, "small", strict=True)
    client = Server.of(home.workspace).client
    run = publish(home.workspace, "small").run_id
    key, calls = client.get_run(run).data.tags[REPORT], []
    monkeypatch.setattr("mlflow.MlflowClient.log_artifact", lambda self, run, path, place: calls.append(place))
    publish_run(home.workspace, "small", strict=True)
    assert calls == []
    home.other_view(0.75)
    home.write("outputs/ood_table/strange/report/auroc.csv", "detector,digits\nvim,0.75\n")
    publish_run(home.workspace, "small", strict=True)
    assert calls == ["report"]
    assert client.get_run(run).data.tags[REPORT] != key
    assert "AUROC" in report_file("study.small").read_text(encoding="utf-8")


def test_without_a_server_there_is_still_a_page(home, monkeypatch, capsys):
    write_page(home)

    def unavailable(*arguments, **options):
        raise TrackingUnavailable("no answer")

    monkeypatch.setattr(publishing, "publish", unavailable)
    publish_run(home.workspace, "small", strict=False)
    assert "<dd>1.25</dd>" in report_file("study.small").read_text(encoding="utf-8")


def test_results_of_older_code_are_published_without_a_page(home):
    publish_run(home.workspace, "small", strict=True)
    outs = RunOutputs.of(home.workspace, "small")
    assert write_report(outs, local_sections(outs)) is None
    assert not report_file("study.small").exists()


def test_tables_are_read_with_numbers_as_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("detector,near\nvim,0.5\nknn,\n")
    assert read_table(tmp_path / "a.csv") == [{"detector": "vim", "near": 0.5}, {"detector": "knn", "near": None}]
