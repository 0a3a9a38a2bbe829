"""What is worth another try, by what DVC says of a stage that failed; the tries themselves are made in test_pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.pipeline.retries import KilledByOthers, Limit, StageFailed, TransientFailure, delays, failure, memory_kills, own_code
from flows.processes import Ended

DVC = "ERROR: failed to reproduce 'train@a': failed to run: python -m components.stages.train \"$DVC_STAGE\", exited with "


def ended(code: int, *tail: str, timed_out: bool = False) -> Ended:
    return Ended(code, tail, 1.0, timed_out)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        (ended(255, "error: no route\n", DVC + "75"), TransientFailure, "transient failure"),
        (ended(75), TransientFailure, "transient failure"),  # a publication has no DVC between
        (ended(255, "ERROR: 'outputs/x' is busy, it is being blocked by:"), TransientFailure, "holds its files"),
        (ended(255, "ERROR: unexpected error - database is locked"), TransientFailure, "holds its files"),
        (ended(255, DVC + "-9"), KilledByOthers, "killed by SIGKILL after 1.0 s; not sent by this flow"),
        (ended(255, DVC + "137"), KilledByOthers, "killed by SIGKILL"),
        (ended(137), KilledByOthers, "killed by SIGKILL"),  # DVC itself
        (ended(143), KilledByOthers, "killed by SIGTERM"),
        (ended(255, DVC + "-11"), StageFailed, "crashed with SIGSEGV"),
        (ended(255, "exited with 75", DVC + "1"), StageFailed, "exit code 1 after"),
        (ended(255, "the loss is not finite; ERROR: database is locked", DVC + "2"), StageFailed, "exit code 2 after"),
        (ended(143, timed_out=True), StageFailed, r"ran past 5 s \(pipeline.stage_timeout\)"),
    ],
)
def test_what_is_worth_a_retry(how: Ended, kind: type, words: str) -> None:
    found = failure(how, Limit(5.0), -1)
    assert type(found) is kind
    with pytest.raises(StageFailed, match=words):
        raise found
    assert found.tail == how.tail


def test_success_is_no_failure_whatever_the_lines_say() -> None:
    assert failure(ended(0, DVC + "75", "ERROR: is busy, it is being blocked by"), Limit(5.0), 3) is None
    assert own_code(ended(0, DVC + "75")) == 0


def test_a_kill_for_memory_is_said_where_the_kernel_tells(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("oom_killer 9\noom_kill 41\n")
    assert memory_kills(tmp_path / "vmstat") == 41
    assert memory_kills(tmp_path / "none") is None
    told = {number: str(failure(ended(137), Limit(5.0), number)) for number in (2, 0, -1)}
    assert "the kernel ended 2 process(es) for lack of memory" in told[2]
    assert "the kernel reports no lack of memory" in told[0]
    assert "out of memory is the likely reason" in told[-1]


def test_delays_double_and_end_at_an_hour() -> None:
    assert delays(5.0, 4) == [5.0, 10.0, 20.0, 40.0]
    assert delays(2000.0, 3)[-1] == 3600.0
