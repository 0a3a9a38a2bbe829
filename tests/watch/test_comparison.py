"""The comparison of two champions in service: it alarms at what is worse and large, and holds its false-alarm rate."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from components.registry.watch.comparison import LEAST, compare, look_of, p_larger, requests_for
from components.registry.watch.traffic import Traffic, latency_class, milliseconds


def traffic(requests: int, failed: int = 0, seconds: float = 0.002, rejected: int | None = None) -> Traffic:
    found = Traffic(requests, failed)
    found.latency[latency_class(seconds)] += requests - failed
    if rejected is not None:
        found.pictures, found.rejected = requests, rejected
    return found


def alarms(old: Traffic, new: Traffic, look: int = 0, alarm: float = 0.001) -> list[str]:
    return [line.gate for line in compare(old, new, alarm, look) if not line.passed]


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (traffic(1000, rejected=50), []),
        (traffic(1000, failed=60, rejected=50), ["errors"]),
        (traffic(1000, seconds=0.004, rejected=50), ["latency"]),
        (traffic(1000, rejected=150), ["rejected"]),
        (traffic(1000, failed=300, seconds=0.1, rejected=400), ["errors", "latency", "rejected"]),
    ],
)
def test_each_comparison_alarms_at_what_is_certain_and_large(new, found):
    assert alarms(traffic(1000, rejected=50), new) == found


def test_what_is_certain_and_small_is_no_alarm():
    """Of 10,000 each: 0.9 % more errors, 4 % more rejected, answers a quarter slower; p is below 1e-15 each time."""
    new = traffic(10_000, failed=90, seconds=0.0025, rejected=900)
    lines = compare(traffic(10_000, rejected=500), new, 0.001, 0)
    assert all(line.figures["p"] < 1e-15 for line in lines)
    assert all(line.passed for line in lines)


def test_better_is_no_alarm():
    assert alarms(traffic(1000, 300, 0.1, 500), traffic(1000, 0, 0.001, 0)) == []


def test_without_data_nothing_alarms_and_it_is_said():
    lines = compare(traffic(LEAST - 1, LEAST - 1), traffic(1000, 1000), 0.001, 0)
    assert all(line.passed for line in lines)
    assert all("not compared" in line.words for line in lines)
    errors, _, rejected = compare(traffic(1000), traffic(1000, 500), 0.001, 0)
    assert not errors.passed
    assert rejected.words == f"not compared: 0 pictures that a detector judged, 0 before; {LEAST} of each are needed"


def test_p_is_that_of_fisher():
    table = [[7, 93], [2, 198]]
    assert p_larger(7, 100, 2, 200) == pytest.approx(fisher_exact(table, "greater").pvalue, rel=1e-9)


def test_the_whole_watch_holds_its_false_alarm_rate(monkeypatch):
    """Both fail in 5 % of the requests; 400 watches of seven looks each, at an alarm of 5 % and any difference."""
    monkeypatch.setattr("components.registry.watch.comparison.MORE_ERRORS", 0.0)
    generator, returned = np.random.default_rng(0), 0
    for _ in range(400):
        old, failed, done, alarm = traffic(1000, int(generator.binomial(1000, 0.05))), 0, 0, False
        for look in range(7):
            failed += int(generator.binomial(requests_for(look) - done, 0.05))
            done = requests_for(look)
            alarm = alarm or "errors" in alarms(old, traffic(done, failed), look, alarm=0.15)
        returned += alarm
    assert 0 < returned <= 20 + 3 * np.sqrt(20 * 0.95)  # 0.15 / 3 tests; Fisher's test is cautious


def test_a_look_is_due_at_each_doubling():
    assert [look_of(number) for number in (0, 99, 100, 199, 200, 399, 400, 6400)] == [None, None, 0, 0, 1, 1, 2, 6]
    assert all(look_of(requests_for(look)) == look for look in range(10))


@pytest.mark.parametrize("seconds", [1e-5, 1e-4, 0.0011, 0.5, 90.0])
def test_a_latency_lies_below_the_bound_of_its_class(seconds):
    number = latency_class(seconds)
    assert 1000 * seconds <= milliseconds(number) * (1 + 1e-9)
    assert number == 0 or milliseconds(number - 1) < 1000 * seconds
