"""The report: one file that needs nothing else, whatever classes and pictures are called."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from workbench import write_view

from components.core.recipe import Heatmap, Metric, Report
from components.metrics.classification import softmax
from components.stages.evaluate.plots import drawable
from components.stages.evaluate.report import build
from components.stages.evaluate.report.curves import curve_figures, ticks
from components.stages.evaluate.report.page import Card, Facts, Figure, Gallery, Page, Section, Table, Text
from components.stages.evaluate.report.render import render, with_sections

EVIL = '<script>alert("1")</script>'
CLASSES = (EVIL, "你好", "a\"b' onload='x'")
PICTURE = '"><img src="http://evil.example/x.png">.jpg'
LABELS = np.arange(30) % 3


class Elements(HTMLParser):
    """All elements with their attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def require_self_contained(html: str) -> Elements:
    """No script, no handler, no address but data and fragments of the page itself."""
    found = Elements(html)
    for tag, attributes in found.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "href", "srcset", "xlink:href", "action") or re.match("data:image/|#", value), value
    styles = html[html.index("<style>") : html.index("</style>")] + str([a.get("style") for _, a in found.elements])
    assert not re.search(r"url\(|@import|expression", styles)
    return found


@pytest.fixture
def workspace(tmp_path: Path):
    """A run "small" with a view of 30 pictures, its training and its export; the second picture has an odd name."""
    folder = tmp_path / "study"
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)
    write_view(folder / "outputs/views/mine", images=images, labels=LABELS, classes=CLASSES)

    def write(name: str, text: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    write("outputs/view_report/mine/names.json", json.dumps({"test": ["0.jpg", PICTURE, *(f"{i}.jpg" for i in range(2, 30))]}))
    write("outputs/train/small/curves.csv", "step,loss,validation.loss\n10,2,3\n20,1,\n30,0.5,2\n")
    nothing: dict[str, list[str]] = {kind: [] for kind in ("read", "adapted", "left_out", "kept")}
    start = {"role": "init", "file": EVIL, "md5": "0", "taken": 7, "fresh": ["head: the file has 9 classes"], **nothing}
    trained = {"model": {"name": "vit"}, "train": {"steps": 30, "init": [start]}}
    write("outputs/train/small/settings.json", json.dumps(trained))
    write("outputs/export/small/facts.json", "{}")
    card = {"view": {"dataset": "d", "split": {"by": "image"}}, "source": "folder", "licence": "CC0 <b>"}
    write("outputs/code/card/small.json", json.dumps(card))
    np.savez(
        folder / "outputs/export/small/saliency.npz",
        split=np.array("test"), method=np.array("Grad-CAM"), row=np.array([4]), map=np.full((1, 2, 2), 200, np.uint8),
    )  # fmt: skip
    settings = SimpleNamespace(
        recipe="classification", view="mine", evaluate=SimpleNamespace(model_dump=lambda: {"split": "test"})
    )
    return SimpleNamespace(folder=folder, run=lambda name: settings, registered_name=lambda name: f"study.{name}")


def classified() -> Report:
    """Picture 1 is wrong and sure, 4 wrong and less sure; picture 2 is right and hardly."""
    logits = 5 * np.eye(3)[LABELS]
    logits[1], logits[2], logits[4] = [9, 0, 0], [0, 1.9, 2], [1, 0, 0]
    right = (logits.argmax(1) == LABELS).astype(float)
    matrix = np.array([[2, 1, 0], [0, 0, 3], [0, 0, 1]])
    return Report(
        {"accuracy": Metric(float(right.mean()), "max")},
        tables={"per_class": [{"class": EVIL}], "other.per_class": [{"class": EVIL, "accuracy": None}]},
        pictures={
            "confusion": Heatmap(matrix, CLASSES, "true class", "predicted class"),
            "sheet": np.zeros((4, 4, 3), np.uint8),
        },
        items={"accuracy": right},
        groups=LABELS,
        group_names=CLASSES,
        probabilities=softmax(logits).astype(np.float32),
    )


def test_a_page_holds_everything_and_runs_nothing(workspace):
    page = build.report_page(workspace, "small", classified())
    html = render(page)
    found = require_self_contained(html)
    for words in (EVIL, "你好", PICTURE, "CC0 <b>", "Grad-CAM", "validation", "0.9333", "source: folder", "7 tensors taken"):
        assert words in found.text, words
    assert html == render(build.report_page(workspace, "small", classified())), "the same inputs, the same bytes"
    assert not re.search(r"20\d\d-|/tmp|/root|/home", html), "no time, no place"


def test_the_galleries_show_the_wrong_and_the_unsure_pictures(workspace):
    sections = {section.title: section.blocks for section in build.report_page(workspace, "small", classified()).sections}
    (wrong,) = sections["Wrong pictures"]
    assert [card.name for card in wrong.cards] == [PICTURE, "4.jpg"]
    assert wrong.cards[0].bars[0] == (EVIL, pytest.approx(0.9998, abs=1e-3), False)
    assert sections["Least sure"][0].cards[0].name == "2.jpg"
    (doubted,) = sections["Suspected label errors"]
    assert [(card.name, card.lines[1]) for card in doubted.cards] == [(PICTURE, f"perhaps {EVIL}")]
    rows = sections["Classes"][0].rows
    assert rows[0] | {"95 % interval": ""} == {
        "class": "你好", "images": 10, "right": 8, "accuracy": 0.8, "95 % interval": "", "most often taken for": f"{EVIL} (2)"
    }  # fmt: skip
    assert "View other" in sections


def test_a_model_that_cannot_tell_the_classes_doubts_no_label(workspace):
    report = classified()
    worse = replace(
        report, probabilities=np.where(np.arange(30)[:, None] < 10, report.probabilities[:, ::-1], report.probabilities)
    )
    sections = {section.title: section.blocks for section in build.report_page(workspace, "small", worse).sections}
    assert sections["Suspected label errors"] == []


def test_the_findings_about_the_view_are_shown_with_their_pictures(workspace):
    suspect = {"name": PICTURE, "split": "train", "row": 1, "label": "你好", "suggested": EVIL}
    suspect |= {"probability": 0.01, "probability_suggested": 0.98, "margin": -0.97}
    pair = {"pixels": "near", "name": "a.jpg", "split": "train", "other_name": "b.jpg", "other_split": "test"}
    content = {"summary": ["2 pictures"], "label_errors": {"suspects": [suspect]}, "duplicates": {"pairs": [pair]}, "odd": {}}
    (workspace.folder / "outputs/view_report/mine/quality.json").write_text(json.dumps(content))
    page = build.report_page(workspace, "small", classified())
    summary, gallery, pairs = next(section.blocks for section in page.sections if section.title == "Data quality")
    assert (list(summary.paragraphs), [card.name for card in gallery.cards], list(pairs.rows)) == (
        ["2 pictures"],
        [PICTURE],
        [pair],
    )
    require_self_contained(render(page))


def test_a_view_without_faults_says_so(workspace):
    content = {"summary": [], "pictures": 600, "label_errors": {"not_judged": "too few", "suspects": []}}
    (workspace.folder / "outputs/view_report/mine/quality.json").write_text(json.dumps(content))
    page = build.report_page(workspace, "small", classified())
    (text,) = next(section.blocks for section in page.sections if section.title == "Data quality")
    assert text.paragraphs == ["No duplicates and no odd pictures among 600; labels were not judged: too few."]


def test_a_class_of_few_pictures_has_no_accuracy_and_is_named(workspace):
    few = classified()
    rows = np.flatnonzero((LABELS != 2) | (np.arange(30) < 9))  # three of the last class
    part = Report(few.metrics, groups=LABELS[rows], group_names=CLASSES, probabilities=few.probabilities[rows])
    sections = {section.title: section.blocks for section in build.report_page(workspace, "small", part).sections}
    assert [row["accuracy"] for row in sections["Classes"][0].rows] == [0.8, 1.0, None]
    assert any(CLASSES[2] in line for line in sections["Limits"][0].paragraphs)


def test_a_model_without_classes_has_its_tables_and_pictures(workspace):
    report = Report(
        {"bits": Metric(1.5, "min")}, {"pairs": [{"source": EVIL, "bits": 2.0}]}, {"samples": np.zeros((5, 5, 3), np.uint8)}
    )
    page = build.report_page(workspace, "small", report)
    titles = [section.title for section in page.sections if section.blocks]
    assert titles == ["Metrics", "Saliency", "Samples", "Pairs", "Curves", "Model", "Data", "Settings", "Limits"]
    assert EVIL in require_self_contained(render(page)).text


def test_sections_are_added_to_a_rendered_page_in_text_and_links():
    blocks = [Facts([(EVIL, EVIL)]), Table([{EVIL: EVIL, "n": 1.0}]), Text([EVIL]), Figure(EVIL, uri="data:image/png;base64,x")]
    page = Page(EVIL, EVIL, [Section(EVIL, blocks)], [(EVIL, EVIL, EVIL)])
    html = with_sections(render(page), [Section("More", [Gallery([Card([], EVIL, [EVIL], [(EVIL, 0.5, True)])], EVIL)])])
    html = with_sections(html, [Section("Empty", []), Section("Still more", [Text(["words"])])])
    found = require_self_contained(html)
    assert [attributes.get("id") for tag, attributes in found.elements if tag == "section"][1:] == ["more", "still-more"]
    assert [attributes["href"] for tag, attributes in found.elements if tag == "a"][1:] == ["#more", "#still-more"]
    with pytest.raises(ValueError, match="no page"):
        with_sections("<html></html>", [])


def test_the_validation_curve_is_drawn_with_its_training_curve(tmp_path):
    (tmp_path / "curves.csv").write_text("step,loss,validation.loss,rate\n10,2,3,nan\n20,1,,\n30,0.5,2,1\n")
    (figure,) = curve_figures(tmp_path / "curves.csv")
    assert re.findall('polyline class="(.*?)"', str(figure.svg))[:2] == ["train", "validation"]
    assert figure.caption == "loss"
    assert curve_figures(tmp_path / "none.csv") == []


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.5, 0.5), (-3, 1e6), (1e-9, 2e-9), (0, 0)])
def test_ticks_cover_the_values_in_few_round_steps(low, high):
    found = ticks(low, high, 4)
    assert found[0] <= low + 1e-9 * abs(low)
    assert found[-1] >= high * (1 - 1e-9)
    assert 2 <= len(found) <= 7


def test_matplotlib_gets_no_name_that_its_font_cannot_draw():
    assert drawable(("cat", "你好", "$x")) == ["cat", "1", r"\$x"]
