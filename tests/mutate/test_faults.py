"""What is planted: one change at a time, which compiles, and those that training code hides."""

import pytest

pytest.importorskip("cosmic_ray", reason="make mutate installs cosmic-ray")

from mutate.faults import faults_of

SOURCE = '''\
def step(loss, optimizer, *, clip=None):
    """Update."""
    optimizer.step(loss, clip=clip, verbose=True)
    optimizer.rate *= 0.5
    if loss > 3 and clip is not None:
        optimizer.steps = 1
    return loss - 1
'''


def planted(operator: str) -> list[str]:
    """The changed lines."""
    found = [fault.plant(SOURCE) for fault in faults_of("f.py", SOURCE) if fault.operator == operator]
    before = SOURCE.splitlines()
    return [line.strip() for text in found if text for old, line in zip(before, text.splitlines(), strict=True) if old != line]


@pytest.mark.parametrize(
    ("operator", "lines"),
    [
        ("ForgottenArgument", ["optimizer.step(loss, verbose=True)"]),
        ("ForgottenCall", ["pass", "pass", "pass"]),
        ("ReplaceBinaryOperator_Sub_Add", ["return loss + 1"]),
        ("ReplaceComparisonOperator_Gt_GtE", ["if loss >= 3 and clip is not None:"]),
        ("ReplaceAndWithOr", ["if loss > 3 or clip is not None:"]),
    ],
)
def test_each_operator_changes_one_place(operator, lines):
    assert planted(operator) == lines


def test_numbers_stay_near():
    assert planted("OtherNumber") == [
        *("optimizer.rate *= 1.0", "optimizer.rate *= 0.25"),
        *("if loss > 4 and clip is not None:", "if loss > 2 and clip is not None:"),
        *("optimizer.steps = 2", "optimizer.steps = 0"),
        *("return loss - 2", "return loss - 0"),
    ]


def test_every_fault_names_the_line_that_it_changes():
    before = SOURCE.splitlines()
    for fault in faults_of("f.py", SOURCE):
        if changed := fault.plant(SOURCE):
            different = [i for i, (old, new) in enumerate(zip(before, changed.splitlines(), strict=True), 1) if old != new]
            assert set(different) <= set(fault.lines)
            assert fault.diff(SOURCE).startswith("--- a/f.py\n+++ b/f.py\n")
