"""A result that does not reach DVC's cache: the stage fails, names why, and is not recorded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from flows.dvc.entries import PROGRAM
from flows.pipeline.retries import Limit, failure
from flows.processes import Ended

FULL = f"""
import errno, runpy, sys
from dvc_objects.fs import generic
def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device", "cache/files/md5/0a")
generic._try_links = generic._put_one = full
sys.argv = [{str(PROGRAM)!r}, "repro", "-f", "-s", "train@a"]
runpy.run_path({str(PROGRAM)!r}, run_name="__main__")
"""


def test_a_full_cache_is_a_failure_of_the_stage(done: Any) -> None:
    done.change(lambda content: content["runs"]["a"]["train"].update(note="new"))
    before = (done.folder / "dvc.lock").read_bytes()
    command = [sys.executable, "-c", FULL]
    ran = subprocess.run(command, cwd=done.folder, env=done.env(), capture_output=True, text=True, check=False)
    lines = tuple((ran.stdout + ran.stderr).splitlines())
    assert ran.returncode != 0, lines
    assert (done.folder / "dvc.lock").read_bytes() == before
    error = failure(Ended(ran.returncode, lines, 1.0, False), Limit(5.0), -1)
    assert error is not None, lines
    assert str(error) == "its results did not reach DVC's cache, after 1.0 s"
    assert any("No space left on device" in line and line.startswith("ERROR: failed to") for line in lines), lines
