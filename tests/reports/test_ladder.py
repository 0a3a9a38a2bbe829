"""The steps of a ladder: what each gains, what it costs, and when a difference has an interval."""

import csv

import numpy as np
import pytest

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.recipe import Metric, Report
from components.registry.latency.measure import Latency
from components.registry.latency.size import Size
from components.registry.latency.table import Cost
from components.registry.reports.ladder import Step, check_names, rows, text, write


def step(name, right, pictures="same"):
    """A model that gets the first ``right`` of 200 pictures right."""
    values = (np.arange(200) < right).astype(np.float64)
    metrics = {"accuracy": Metric(right / 200, "max"), "negative_log_likelihood": Metric(1 - right / 200, "min")}
    items = {"accuracy": values, "negative_log_likelihood": 1 - values}
    return Step(name, Report(metrics, items=items), pictures)


def cost(ms, megabytes, cpu_share=1.0):
    return Cost(Latency(ms, 2 * ms, ms, ms, 400, cpu_share), Size(megabytes, 1_000_000, 5))


STEPS = [step("a", 100), step("b", 140), step("c:3", 141), step("teacher", 120, pictures="others")]
COSTS = {"a": cost(0.5, 3.0), "b": cost(0.5, 3.0), "c:3": cost(0.51, 3.0), "teacher": cost(9.0, 44.0)}


def test_each_step_is_compared_with_the_one_before():
    a, b, c, teacher = rows(STEPS, COSTS)
    assert (a["accuracy"], a["difference"], a["reads"]) == (0.5, "–", "–")
    assert (b["difference"], b["reads"]) == (0.2, "better")
    assert (c["difference"], c["reads"]) == (0.005, "no clear difference")
    assert (teacher["difference"], teacher["95 % interval"]) == (-0.105, "–")  # other pictures: no pairs
    assert [row["ms"] for row in (a, teacher)] == [0.5, 9.0]
    assert [row["MB"] for row in (a, teacher)] == [3.0, 44.0]
    loss = rows(STEPS, COSTS, "negative_log_likelihood")[1]
    assert (loss["difference"], loss["reads"]) == (-0.2, "better")
    assert rows(STEPS[::-1][1:], COSTS)[2]["reads"] == "worse"
    with pytest.raises(SettingsError, match="--metric of a: unknown name 'acuracy'"):
        rows(STEPS, COSTS, "acuracy")


def test_the_table_is_printed_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "WORK", tmp_path)
    table = rows(STEPS, COSTS)
    busy = COSTS | {"a": cost(0.5, 3.0, cpu_share=0.4)}
    assert "the measurement had 40% of a core" in text(table, busy)
    assert "1,000,000" in text(table, COSTS)
    page = write(table, COSTS)
    assert page == tmp_path / "reports" / "compare-a-b-c-3-teacher" / "index.html"
    with (page.parent / "ladder.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [row["run"] for row in written] == ["a", "b", "c:3", "teacher"]
    assert [row["accuracy"] for row in written] == ["0.5", "0.7", "0.705", "0.6"]
    assert "c:3" in page.read_text(encoding="utf-8")


def test_a_model_is_named_once():
    with pytest.raises(SettingsError, match="'b' is given twice"):
        check_names(["a", "b", "c", "b"])
