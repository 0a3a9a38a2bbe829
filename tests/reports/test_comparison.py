"""Two versions on the same pictures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from workbench import write_view

from components.core import settings
from components.registry.promotion.scores import VersionScores
from components.registry.reports.comparison import Comparison, Side, class_rows, metric_rows, table
from components.registry.reports.comparison import test_rows as counts
from components.registry.reports.comparison_page import write_comparison

CLASSES = ("cat", "<b>dog</b>")
TRUTH = np.arange(100) % 2


def scores(version: int, wrong: list[int]) -> VersionScores:
    predicted = TRUTH.copy()
    predicted[wrong] = 1 - TRUTH[wrong]
    right = (predicted == TRUTH).astype(np.float64)
    return VersionScores(
        version, "k", "d", {"accuracy": float(right.mean()), "loss": 1.0 / version}, {"accuracy": "max", "loss": "min"},
        latency={"latency_p50_ms": 1.0}, group_names=CLASSES, groups=TRUTH,
        items={"accuracy": right}, predicted=predicted, probability=np.linspace(0.5, 1, 100, dtype=np.float32),
    )  # fmt: skip


def compared(first: list[int], second: list[int]) -> Comparison:
    one = Side("run", "study.run", "mine", "digest", "test", scores(1, first))
    return Comparison(one, replace(one, scores=scores(2, second)))


def test_pictures_that_flip_are_told_from_those_that_do_not():
    comparison = compared(first=[0, 1, 2, 3, 4, 5, 6, 8], second=[0, 7])
    fixed, broken = comparison.flips()
    assert (fixed.tolist(), broken.tolist()) == ([1, 2, 3, 4, 5, 6, 8], [7])
    rows = dict(counts(comparison))
    assert rows["wrong in both"] == 1
    assert "p = 0.0703" in rows["McNemar's exact test"]  # 2 (1 + 8) / 2^8
    (cat, dog) = class_rows(comparison)
    assert cat == {"class": "cat", "pictures": 50, "first": 45, "second": 49, "fixed": 4, "broken": 0}
    assert (dog["fixed"], dog["broken"]) == (3, 1)


def test_a_difference_reads_as_one_only_outside_its_interval():
    def readings(*wrong):
        return [row["reads"] for row in metric_rows(compared(*wrong))]

    assert readings([], []) == ["no clear difference", "–"], "the loss has no values of single pictures"
    assert readings(list(range(20)), [])[0] == "second is better"
    assert readings([], list(range(20)))[0] == "first is better"
    assert readings([0, 1], [2])[0] == "no clear difference"


def test_the_table_names_both_versions_and_the_test():
    text = table(compared([1, 2], [3]))
    assert "study.run:1" in text
    assert "study.run:2" in text
    assert "fixed (only the second is right): 2" in text


def test_other_pictures_are_refused():
    one = Side("run", "run", "mine", "digest", "test", scores(1, []))
    for other in ({"digest": "another"}, {"split": "validation"}):
        with pytest.raises(ValueError, match="the same pictures only"):
            Comparison(one, replace(one, **other))


def test_the_page_shows_the_flips_with_names_and_without_markup_of_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "WORK", tmp_path / "work")
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), np.uint8)
    write_view(tmp_path / "outputs/views/mine", images=images, labels=TRUTH, classes=CLASSES)
    path = write_comparison(SimpleNamespace(folder=tmp_path), compared([1, 2], [3]))
    html = path.read_text(encoding="utf-8")
    assert path.parent.name == "compare-study.run-1-study.run-2"
    for words in ("test 1<", "test 2<", "test 3<", "second: &lt;b&gt;dog&lt;/b&gt;", "Broken", "Fixed"):
        assert words in html, words
    assert "<b>dog" not in html
