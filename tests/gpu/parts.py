"""Run the parts of the check, each in a process of its own, within a budget of seconds; the table of their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.95  # of a training step: bare / ours
SUITES = ("tests/gpu", "tests/train/test_batch_size.py", "tests/train/test_launch.py")  # where tests are marked `gpu`
TAIL = 300  # characters of an error
Result = dict[str, Any]


@dataclass
class Budget:
    """Seconds for all parts together; ``clock`` is read at the start and before each part."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (self.clock() - self.started)


@dataclass(frozen=True)
class Part:
    """``command``: writes its figures as JSON to the file ``$RESULT``; ``most``: the seconds that it may take."""

    name: str
    command: Sequence[str]
    most: float
    least: float = 20.0  # with less left it is not started


def run_all(parts: Sequence[Part], budget: Budget, say: Callable[[str], None]) -> dict[str, Result]:
    """Run the parts; a part that fails, or has no time, is recorded as such, and the next one runs."""
    results: dict[str, Result] = {}
    for part in parts:
        if budget.left < part.least:
            results[part.name] = {"state": "not reached", "reason": f"{budget.left:.0f} s of {budget.seconds:.0f} s were left"}
        else:
            results[part.name] = run_part(part, min(part.most, budget.left))
        say(f"{part.name}: {line(results[part.name])}")
    return results


def run_part(part: Part, seconds: float) -> Result:
    """Run one part; return its figures with ``state``: done, failed or out of time."""
    with tempfile.TemporaryDirectory() as folder:
        file, start = Path(folder) / "result", time.monotonic()
        variables = os.environ | {"RESULT": str(file), "PYTHONPATH": os.pathsep.join(_paths())}
        try:
            done = subprocess.run(
                part.command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return {"state": "out of time", "reason": f"not done after {seconds:.0f} s"}
        took = {"took_s": round(time.monotonic() - start, 1)}
        if part.name == "tests" and file.is_file():
            return took | counts_of(file.read_text(encoding="utf-8"))
        if done.returncode or not file.is_file():
            words = " ".join((done.stderr or done.stdout).split())
            return took | {"state": "failed", "reason": words[-TAIL:] or f"exit code {done.returncode}"}
        return took | {"state": "done"} | json.loads(file.read_text(encoding="utf-8"))


def _paths() -> list[str]:
    """Return the module search path of a part: the repository, its tests, and what this process was given."""
    given = os.environ.get("PYTHONPATH")
    return [str(ROOT), str(ROOT / "tests"), *([given] if given else [])]


def counts_of(junit: str) -> Result:
    """Return the counts of a pytest run from its JUnit file, and the names of failed tests."""
    suite = ET.fromstring(junit).find("testsuite")
    assert suite is not None
    numbers = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    bad = [
        case.get("name")
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    state = "failed" if bad or numbers["errors"] else "done"
    return {"state": state, "passed": numbers["tests"] - numbers["failures"] - numbers["errors"] - numbers["skipped"]} | {
        "failed": bad,
        "skipped": numbers["skipped"],
    }


def tests_part(most: float) -> Part:
    """The tests that are marked `gpu`."""
    options = [
        "-m",
        "gpu",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--override-ini",
        "addopts=--import-mode=importlib",
    ]
    script = "import os, sys, pytest; sys.exit(pytest.main([*sys.argv[1:], '--junitxml=' + os.environ['RESULT']]))"
    return Part("tests", (sys.executable, "-c", script, *options, *SUITES), most)


def own_part(name: str, most: float, *options: str) -> Part:
    """A part that this program runs itself: ``python tests/gpu --part NAME``."""
    return Part(name, (sys.executable, str(Path(__file__).parent), "--part", name, *options), most)


def line(result: Result) -> str:
    """Return a line on one result."""
    if result["state"] in ("not reached", "out of time", "skipped") or (result["state"] == "failed" and "reason" in result):
        return f"{result['state']}: {result['reason']}"
    if "ratio" in result:
        verdict = "" if result["ratio"] >= GOAL else f", below the goal of {GOAL}"
        return f"{result['ours_ms']} ms a step, bare loop {result['bare_ms']} ms: ratio {result['ratio']}{verdict}"
    if "accuracy" in result:
        target = {None: "drawn images, so no claim", True: "94 % reached", False: "below 94 %"}[result["reached"]]
        return f"{result['accuracy']:.2%} in {result['seconds']} s ({target}), {result['epochs']} epochs"
    failed = f", failed: {', '.join(result['failed'])}" if result["failed"] else ""
    return f"{result['passed']} tests passed, {result['skipped']} skipped{failed}"


def table(machine: dict[str, Any], results: dict[str, Result]) -> str:
    """Return the results as a table in Markdown, for docs/results.md."""
    head = f"GPU check on {machine['device']}, torch {machine['torch']}, {machine['commit'] or 'no commit'}"
    rows = [f"| {name} | {result['state']} | {line(result)} |" for name, result in results.items()]
    return "\n".join([head, "", "| part | state | result |", "|---|---|---|", *rows]) + "\n"
