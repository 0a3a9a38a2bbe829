"""Tests in forked processes: torch is imported once, our modules in each, from a copy of the project with the fault."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import coverage
import pytest
from mutate.covering import IMPORTED

HEAVY = (
    "torch._dynamo",  # any optimizer imports it
    "numpy",
    "scipy.stats",
    "sklearn.metrics",
    "pydantic",
    "ruamel.yaml",
    "PIL.Image",
    "albumentations",
    "onnxruntime",
)


def import_packages() -> None:
    """Import what the tests import and is not ours, once for every child."""
    os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1", NO_ALBUMENTATIONS_UPDATE="1", DO_NOT_TRACK="true")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # each child would import them again
    sys.dont_write_bytecode = True  # two faults of one size in one second would share a .pyc
    for name in HEAVY:
        __import__(name)
    sys.modules["torch"].set_num_threads(1)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of what is imported here


class Coverage:
    """A pytest plugin: which lines of the files each test runs, and how long it takes.

    Lines that run in a fixture belong to every test of the file: another test may be the one that looks at the outcome.
    """

    def __init__(self, files: list[str], seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.recorder = coverage.Coverage(data_file=None, include=files, config_file=False)
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()
        self.recorder.start()
        self.recorder.switch_context(IMPORTED)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Any:
        self.recorder.switch_context(item.nodeid.partition("::")[0])
        if time.monotonic() > self.deadline:
            item.session.shouldstop = "the time of the run without faults is over"
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        self.recorder.switch_context(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Any:
        self.recorder.switch_context(item.nodeid.partition("::")[0])
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)

    def result(self, files: list[str]) -> dict[str, Any]:
        """Return {"seconds": {test: s}, "lines": {file: {line: contexts}}} of the tests that passed."""
        self.recorder.stop()
        data = self.recorder.get_data()
        lines = {file: data.contexts_by_lineno(str(Path(file).resolve())) for file in files}
        return {"seconds": {test: s for test, s in self.seconds.items() if test not in self.failed}, "lines": lines}


def baseline(copy: Path, files: list[str], tests: list[str], seconds: float) -> dict[str, Any]:
    """Run the tests once without a fault, as many as ``seconds`` allow; see Coverage.result. RuntimeError if one hangs."""
    out = copy / ".work" / "baseline.json"
    out.parent.mkdir(exist_ok=True)

    def record() -> int:
        plugin = Coverage(files, seconds)
        pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[plugin])
        out.write_text(json.dumps(plugin.result(files)))
        return 0

    if fork(copy, record, seconds + 120) != 0:
        raise RuntimeError(f"the tests did not end without a fault: {' '.join(tests)}; {copy}/.work/trial.log")
    return json.loads(out.read_text())


def noticed(copy: Path, tests: list[str], seconds: float) -> bool:
    """Whether one of the tests fails, or they hang, with the copy as it is."""
    without = ("cacheprovider", "faulthandler", "unraisableexception", "threadexception")
    options = ["-q", "-x", "--assert=plain", *(word for name in without for word in ("-p", f"no:{name}"))]
    return fork(copy, lambda: int(pytest.main([*options, *tests])), seconds) != 0


def fork(folder: Path, work: Any, seconds: float) -> int | None:
    """Run ``work`` in a child whose modules of ours come from ``folder``; its exit code, or None if it took too long."""
    child = os.fork()
    if child == 0:
        os.setpgrp()  # no session of its own: it keeps the priority of this process
        _in_folder(folder, work)
    deadline = time.monotonic() + seconds
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # also what the tests have left behind
    if done[0] == 0:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(done[1])


def _in_folder(folder: Path, work: Any) -> None:
    """The child's part of ``fork``; never returns."""
    code = 99
    try:
        os.chdir(folder)
        here = str(Path(__file__).parents[2])
        sys.path[:] = [
            str(folder),
            str(folder / "tests"),
            *(p for p in sys.path if not Path(p or ".").resolve().is_relative_to(here)),
        ]
        for name in [name for name in sys.modules if name.partition(".")[0] in ("components", "flows", "workbench")]:
            del sys.modules[name]
        nowhere = os.open(folder / ".work" / "trial.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = work()
    finally:
        sys.stdout.flush()
        os._exit(code)
