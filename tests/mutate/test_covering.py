"""Which tests are run for a fault."""

import pytest
from mutate.covering import IMPORTED, covering_files, covering_tests
from workbench import ROOT

FILE = "components/core/step.py"
KNOWN = {
    "seconds": {"tests/a.py::one": 3.0, "tests/a.py::two": 1.0, "tests/b.py::three": 2.0, "tests/c.py::four": 0.5},
    "lines": {FILE: {"1": [IMPORTED], "5": ["tests/a.py::one", "tests/b.py"], "6": ["tests/b.py::three"]}},
}


@pytest.mark.parametrize(
    ("file", "first", "also"),
    [
        ("components/detectors/vim.py", "tests/detectors/", "tests/detectors/test_fidelity.py"),
        ("components/stages/train/loop.py", "tests/train/", "tests/tracking/test_live.py"),
        ("components/registry/promotion/verdict.py", "tests/promotion/", "tests/promotion/test_verdict.py"),
        ("flows/pipeline/plan.py", "tests/flows/pipeline/", "tests/flows/pipeline/test_plan.py"),
    ],
)
def test_the_mirrored_folder_comes_first_and_those_that_import_the_file_follow(file, first, also):
    found = covering_files(ROOT, [file])
    assert found[0].startswith(first)
    assert also in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (range(1, 2), ["four", "two", "three", "one"]),  # run at import: any of them may notice
        (range(5, 6), ["three", "one"]),  # in a fixture of b.py, so all of its tests; the quickest first
        (range(5, 7), ["three", "one"]),
        (range(6, 7), ["three"]),
        (range(7, 8), []),
    ],
)
def test_the_tests_of_a_line_are_those_that_run_it(lines, names):
    assert [test.rpartition(":")[2] for test in covering_tests(KNOWN, FILE, lines, seconds=60)] == names


def test_only_as_many_are_run_as_there_is_time_for_but_one_at_least():
    assert covering_tests(KNOWN, FILE, range(1, 2), seconds=1.6) == ["tests/c.py::four", "tests/a.py::two"]
    assert covering_tests(KNOWN, FILE, range(1, 2), seconds=0.1) == ["tests/c.py::four"]
