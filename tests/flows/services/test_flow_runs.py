"""Which of several due runs does the work."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from flows.services.flow_runs import reason, superseding


def at(minute: float) -> datetime:
    return datetime(2026, 3, 29, 2, tzinfo=UTC) + timedelta(minutes=minute)


@dataclass(frozen=True)
class Run:
    """As much of a flow run as matters: when it was due and when it began, in minutes."""

    due: float
    began: float | None = None
    auto_scheduled: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)

    @property
    def expected_start_time(self) -> datetime:
        return at(self.due)

    @property
    def start_time(self) -> datetime | None:
        return None if self.began is None else at(self.began)


def test_of_a_backlog_the_last_one_does_the_work():
    runs = [Run(minute) for minute in (3, 1, 2)]
    assert [superseding(run, runs, at(10)) for run in runs] == [None, runs[0], runs[0]]
    assert reason(runs[0]) == "superseded by the run scheduled for 2026-03-29 02:03:00 UTC"


def test_one_that_has_begun_is_not_given_up_for_one_that_has_just_become_due():
    """Else none would ever work where starting takes longer than the interval."""
    runs = [Run(1, began=3.5), Run(2), Run(3)]
    assert superseding(runs[0], runs, at(1.9)) is None
    assert superseding(runs[0], runs, at(2)) is runs[1]


def test_one_that_began_after_this_one_was_due_has_done_its_work_whatever_its_own_time():
    done = Run(1, began=5)
    assert superseding(Run(4, began=9), [done], at(0)) is done
    assert superseding(Run(4), [done], at(0)) is done
    assert superseding(Run(6, began=9), [done], at(0)) is None  # what came in since is still to be seen


def test_two_that_have_begun_never_give_up_for_each_other():
    one, other = Run(1, began=3), Run(2, began=4)
    assert [superseding(run, [one, other], at(10)) for run in (one, other)] == [None, one]


def test_what_a_person_asked_for_or_what_does_something_else_supersedes_nothing():
    run = Run(1)
    others = [run, Run(2, auto_scheduled=False), Run(3, parameters={"every": True}), Run(0), Run(1)]
    assert superseding(run, others, at(10)) is None
