"""Every gate can pass and refuse, in both directions; the first model meets floor and latency alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from components.core.config.strict import SettingsError, parse
from components.core.settings import Workspace
from components.registry.promotion.gates import Gates
from components.registry.promotion.verdict import judge

ALL = {"metric": "accuracy", "floor": 0.9, "gain": -0.01, "margin": 0.03, "max_class_fall": 0.02, "latency_ms": 2.0}


def gates(**block) -> Gates:
    return parse(Gates, {"metric": "accuracy", "floor": 0.0} | block, "promote")


def failed(block: dict, candidate, champion) -> list[str]:
    return [line.gate for line in judge(gates(**block), "runs.a.promote", candidate, champion).lines if not line.passed]


def test_an_equal_model_passes_all_gates(scores):
    verdict = judge(gates(**ALL), "k", scores(4), scores(4))
    assert verdict.passed, verdict.reason
    assert [line.gate for line in verdict.lines] == ["floor", "gain", "margin", "max_class_fall", "latency_ms"]


@pytest.mark.parametrize(
    ("block", "candidate_wrong", "champion_wrong", "refused"),
    [
        ({"floor": 0.981}, 4, 4, ["floor"]),
        ({"floor": 0.98}, 4, 4, []),  # 196 of 200 is the floor itself
        ({"gain": 0.005}, 4, 4, ["gain"]),
        ({"gain": 0.005}, 3, 4, []),
        ({"margin": 0.03}, 5, 0, ["margin"]),
        ({"margin": 0.03}, 1, 0, []),
        ({"margin": 0.015}, 4, 4, ["margin"]),  # 200 images say no more than +-1.9 %
        ({"max_class_fall": 0.02}, 3, 0, ["max_class_fall"]),
        ({"max_class_fall": 0.03}, 3, 0, []),
    ],
)
def test_each_gate_refuses_by_itself(scores, block, candidate_wrong, champion_wrong, refused):
    assert failed(block, scores(candidate_wrong), scores(champion_wrong)) == refused


def test_the_margin_holds_with_the_confidence_that_is_asked(scores):
    """Equal models on 200 images: the interval of 95 % reaches 1.9 % down, that of 60 % less than 1 %."""
    assert failed({"margin": 0.015}, scores(4), scores(4)) == ["margin"]
    assert failed({"margin": 0.015, "confidence": 0.6}, scores(4), scores(4)) == []
    assert failed({"margin": 0.03, "confidence": 0.999}, scores(4), scores(4)) == ["margin"]


def test_the_latency_has_a_ceiling(scores):
    slow = scores(latency={"latency_p50_ms": 2.1})
    assert failed({"latency_ms": 2.0}, slow, None) == ["latency_ms"]
    assert failed({"latency_ms": 2.1}, slow, None) == []


def test_what_is_reached_exactly_has_passed(scores):
    """Though 0.95 - 0.93 is less than 0.02 in binary: rounding refuses nobody."""
    seeded = scores(10)
    seeded.metrics.update({"seeds.accuracy.mean": 0.95, "seeds.accuracy.std": 0.02})
    assert failed({"gain": 0.02, "seed_spread": 1.0}, seeded, scores(14)) == []
    assert failed({"gain": 0.0201, "seed_spread": 1.01}, seeded, scores(14)) == ["gain", "seed_spread"]
    (low,) = (
        line.figures["low"] for line in judge(gates(margin=0.1), "k", scores(4), scores(4)).lines if line.gate == "margin"
    )
    assert failed({"margin": -low}, scores(4), scores(4)) == []


def test_the_figures_of_a_verdict_are_those_that_were_compared(scores):
    """What the registry keeps of a decision."""
    verdict = judge(gates(**ALL), "k", scores(5), scores(4))
    assert verdict.figures == {"accuracy": 0.975, "champion accuracy": 0.98, "latency_p50_ms": 1.0}
    figures = {line.gate: line.figures for line in verdict.lines}
    assert figures["floor"] == {"value": 0.975, "floor": 0.9}
    assert figures["gain"] == pytest.approx({"gain": -0.005, "asked": -0.01})
    assert figures["max_class_fall"] == pytest.approx({"fall": 0.01, "images": 100.0, "allowed": 0.02})
    assert figures["latency_ms"] == {"value": 1.0, "ceiling": 2.0}
    low, high = figures["margin"].pop("low"), figures["margin"].pop("high")
    assert figures["margin"] == pytest.approx({"difference": -0.005, "margin": 0.03, "images": 200.0})
    assert low < -0.005 < high < 0.02


def test_a_verdict_is_told_in_lines(scores):
    verdict = judge(gates(floor=0.99, gain=0.01, margin=0.03), "k", scores(4), scores(4))
    said = [str(line) for line in verdict.lines]
    assert said[0] == "FAILED  floor           accuracy 0.9800, at least 0.99 is required"
    assert said[1] == "FAILED  gain            accuracy 0.9800, champion 0.9800: better by +0.0000, at least +0.01 is required"
    assert said[2].startswith(
        "passed  margin          accuracy +0.0000 against the champion on 200 images, 95% interval [-0.0188,"
    )
    assert said[2].endswith("+0.0188], above -0.03 is required")
    assert verdict.reason == f"floor: {said[0][24:]}; gain: {said[1][24:]}"
    assert json.loads(json.dumps(verdict.to_json()))[0]["gate"] == "floor"


def test_the_first_model_is_not_compared(scores):
    verdict = judge(gates(**ALL | {"gain": 0.5}), "k", scores(4), None)
    assert [line.gate for line in verdict.lines if line.passed] == ["floor", "latency_ms"]


def test_every_class_must_have_its_value(scores):
    assert failed({"max_class_fall": 0.5}, scores(groups=np.zeros(199, int)), scores()) == ["max_class_fall"]
    unnamed = scores(3, group_names=(), groups=np.repeat([0, 1], [60, 140]))
    words = judge(gates(max_class_fall=0.5), "k", unnamed, scores()).lines[-1].words
    assert words.startswith("class '0' changes most for the worse: -0.0500 on 60 images, ")


def test_where_smaller_is_better_everything_turns(scores):
    def surprised(value: float):
        values = np.full(200, 0.2) + np.linspace(-0.01, 0.01, 200)
        values[:100] += value
        return scores(metrics={"nll": float(values.mean())}, better={"nll": "min"}, items={"nll": values})

    block = {"metric": "nll", "floor": 0.3, "gain": 0.0, "margin": 0.01, "max_class_fall": 0.05}
    assert failed(block, surprised(0.0), surprised(0.1)) == []
    assert failed(block, surprised(0.1), surprised(0.0)) == ["gain", "margin", "max_class_fall"]
    assert failed(block, surprised(0.3), surprised(0.3)) == ["floor"]


def test_the_class_that_fell_is_named_though_the_whole_rose(scores):
    better = scores(0)
    worse_for_one = replace(better, items={"accuracy": np.r_[np.ones(100), np.zeros(5), np.ones(95)]})
    verdict = judge(gates(max_class_fall=0.04), "k", worse_for_one, scores(10))
    assert not verdict.passed
    assert "'one'" in verdict.reason
    assert "-0.0500 on 100 images" in verdict.reason


def test_values_that_cannot_be_paired_refuse_in_words(scores):
    for champion in (
        scores(items={}),
        scores(items={"accuracy": np.ones(199)}),
        scores(items={"accuracy": np.full(200, np.nan)}),
    ):
        assert failed({"margin": 0.5, "max_class_fall": 0.5}, scores(), champion) == ["margin", "max_class_fall"]
    assert failed({"gain": 0.0}, scores(), scores(metrics={})) == ["gain"]
    hollow = scores(metrics={"accuracy": float("nan")})
    assert failed({"floor": 0.0}, hollow, None) == ["floor"]
    verdict = judge(gates(floor=0.0), "k", hollow, None)
    assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))[0]["figures"]["value"] is None


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"metric": "acuracy"}, r"runs.a.promote.metric: the report has no 'acuracy'; it has accuracy, calibration_error"),
        ({"better": "min"}, "runs.a.promote.better: 'min' is not allowed: of accuracy the max is better"),
        ({"metric": "calibration_error", "margin": 0.1}, "margin: 'calibration_error' has no value an image .* accuracy; or"),
        ({"metric": "calibration_error", "max_class_fall": 0.1}, "max_class_fall: 'calibration_error' has no value an image"),
    ],
)
def test_what_the_report_cannot_answer_is_an_error(scores, block, message):
    with pytest.raises(SettingsError, match=message):
        judge(gates(**block), "runs.a.promote", scores(), scores())
    with pytest.raises(SettingsError, match=r"promote\.max_class_fall: the report of this recipe knows no classes"):
        judge(gates(max_class_fall=0.1), "promote", scores(groups=None), scores())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"floor": 0.9}, "floor without a metric"),
        ({"metric": "accuracy"}, "a metric alone refuses nothing"),
        ({"metric": "accuracy", "approval": True}, "a metric alone refuses nothing"),
        ({"metric": "accuracy", "floor": 0.9, "margn": 0.1}, "promote.margn: unknown key .*did you mean 'margin'"),
        ({"metric": "accuracy", "margin": -0.1}, "promote.margin: -0.1 is not allowed"),
    ],
)
def test_a_block_that_decides_nothing_is_an_error(block, message):
    with pytest.raises(SettingsError, match=message):
        parse(Gates, block, "promote")


@pytest.mark.parametrize(("watch", "hours"), [(None, 0.0), ("90m", 1.5), ("0.5h", 0.5), ("24h", 24.0), ("7d", 168.0)])
def test_the_time_of_a_watch_is_in_hours(watch, hours):
    assert gates(watch=watch).watch_hours == pytest.approx(hours)


def test_what_a_block_leaves_out():
    """The defaults of docs/settings.md: a week for an answer, one false return in a thousand watches, anybody approves."""
    block = gates()
    assert (block.confidence, block.approval_hours, block.watch_alarm, block.approval) == (0.95, 168.0, 0.001, False)
    widest = gates(confidence=0.51, watch_alarm=0.49, margin=0, max_class_fall=0, seed_spread=0)
    assert (widest.max_class_fall, widest.watch_alarm) == (0, 0.49)
    assert [gates(approval=value).second_person for value in (True, {"by": "anyone"}, {"by": "other"})] == [False, False, True]


@pytest.mark.parametrize(
    "block",
    [{"confidence": 0.5}, {"confidence": 1}, {"max_class_fall": -0.1}, {"latency_ms": 0}, {"approval_hours": 0}, {"metric": ""},
     {"watch_alarm": 0}, {"watch_alarm": 0.5}, {"seed_spread": -1}],
)  # fmt: skip
def test_a_limit_that_limits_nothing_is_an_error(block):
    with pytest.raises(SettingsError, match=rf"promote\.{next(iter(block))}: .* is not allowed"):
        gates(**block)


def test_an_empty_block_is_allowed_until_it_must_decide():
    with pytest.raises(SettingsError, match=r"runs.a.promote: nothing says.*\n  promote: \{metric: accuracy"):
        parse(Gates, {}, "promote").must_decide("runs.a.promote")


def test_the_runs_of_this_repository_can_be_promoted():
    for folder in (".", "experiments/mnist", "experiments/pixelcnn-mnist", "experiments/diffusion-mnist"):
        workspace = Workspace(folder)
        for run in workspace.params.runs:
            figure = workspace.gates(run).must_decide(f"runs.{run}.promote")
            known = ("accuracy", "bits_per_dim", "nats_per_image", "psnr", "conditional_accuracy_", "both_read_")
            assert figure.startswith(known)


def test_a_gain_within_the_spread_of_the_seeds_is_refused(scores):
    def seeded(mean: float, std: float):
        one = scores(4)
        return replace(one, metrics=one.metrics | {"seeds.accuracy.mean": mean, "seeds.accuracy.std": std})

    champion = scores(10)  # accuracy 0.95
    assert failed({"seed_spread": 2.0}, seeded(0.969, 0.01), champion) == ["seed_spread"]
    assert failed({"seed_spread": 2.0}, seeded(0.971, 0.01), champion) == []
    assert failed({"seed_spread": 0.0}, seeded(0.949, 0.01), champion) == ["seed_spread"]
    with pytest.raises(SettingsError, match=r"promote\.seed_spread: the report has one seed; .* seeds` repeats a with"):
        judge(gates(seed_spread=2.0), "runs.a.promote", scores(4), champion)
