"""Promotion, approval, rejection and rollback, each as one decision that is noted whole. ``flows.promote`` makes them flows.

Without Prefect, so that a rollback is possible on a day on which there is no server.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.core.settings import ROOT
from components.core.strict import SettingsError, must_exist
from components.registry.promotion import CHAMPION_UNFIT, UNFIT, UNFIT_WORD
from components.registry.promotion.approval import answer, check_unchanged, find_request
from components.registry.promotion.audit import Entry
from components.registry.promotion.contest import Contest, decision, find_contest, roll_back, rolled_back_from
from components.registry.promotion.gates import Gates
from components.registry.promotion.journal import NotDone, complete, decide, deciding
from components.registry.promotion.scores import data_key, read_scores
from components.registry.promotion.verdict import Verdict, judge, unfit
from components.registry.tracking import connect, reachable
from flows.environment import for_children
from flows.processes import Ended, Log, Processes
from flows.project import Project

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Outcome:
    """What became of it, in words; ``entry``: the decision, None where there was nothing to decide."""

    words: str
    entry: Entry | None = None

    @property
    def refused(self) -> bool:
        """Whether a gate said no."""
        return self.entry is not None and self.entry.action == "refused"


@dataclass(frozen=True)
class Desk:
    """Where the decisions about one run are made, one at a time; ``client`` is of the tracking server."""

    project: Project
    run: str
    client: MlflowClient
    log: Log

    @property
    def name(self) -> str:
        """The registered name."""
        return self.project.workspace.registered_name(self.run)

    @property
    def gates(self) -> Gates:
        """The run's ``promote`` block."""
        return self.project.workspace.gates(self.run)


def project_at(folder: str | None, study: str | None, run: str) -> Project:
    """The workspace; SettingsError where there is no such folder, study or run."""
    project = Project(Path(folder or ROOT).resolve(), study)
    must_exist(run, project.params.runs, "run")
    return project


@contextmanager
def desk(project: Project, run: str, log: Log) -> Iterator[Desk]:
    """Wait for any other decision about the run, complete what a killed one left half done, then decide."""
    name = project.workspace.registered_name(run)
    with reachable(), deciding(name):
        found = Desk(project, run, connect(), log)
        if left := complete(found.client, name):
            log(f"completed what was left half done: version {left.version} {left.action} by {left.by} at {left.time}")
        yield found


def promote(at: Desk, by: str, comment: str, compare: bool) -> Outcome:
    """Score the candidate and the champion, judge, and carry out what follows. NotDone where there is nothing to judge.

    Without ``compare`` the champion is passed over: where it cannot be scored on today's data, say with a new class.
    """
    key = f"runs.{at.run}.promote"
    at.gates.must_decide(key)
    if not compare and not comment:
        raise SettingsError("--no-compare passes the champion over: say why with --comment")
    contest = find_contest(at.client, at.project.workspace, at.run, data_key(at.project.workspace, at.run))
    if contest.settled:
        return Outcome(f"{at.name}: version {contest.candidate} is the champion already")
    if not comment and (undone := rolled_back_from(at.client, contest)):
        told = f"was rolled back by {undone.by} at {undone.time}" + (f" ({undone.comment})" if undone.comment else "")
        raise NotDone(f"{at.name}: version {contest.candidate} {told}; to promote it again, say why with --comment")
    verdict = _verdict(at, contest, key, compare)
    for line in verdict.lines:
        at.log(str(line))
    entry = decision(contest, at.gates, verdict, by or login(), comment)
    check_unchanged(at.client, entry, None)  # it was scored for a while
    return _carry_out(at, entry)


def approve(at: Desk, version: int | None, by: str, comment: str) -> Outcome:
    """Promote the version that waits for a word, if it, the champion and the data are still those that were scored."""
    request = find_request(at.client, at.name, version)
    check_unchanged(at.client, request, data_key(at.project.workspace, at.run))
    _must_answer(at, request.version)
    return _carry_out(at, answer(at.client, request, "approved", by or login(), comment))


def reject(at: Desk, version: int | None, by: str, comment: str) -> Outcome:
    """Close the request: the version is not promoted."""
    request = find_request(at.client, at.name, version)
    return _carry_out(at, answer(at.client, request, "rejected", by or login(), comment))


def rollback(at: Desk, version: int | None, by: str, comment: str) -> Outcome:
    """Make the previous champion, or ``version``, the champion again, once it has shown that it still loads and answers."""
    entry = roll_back(at.client, at.name, version, by or login(), comment)
    _must_answer(at, entry.version)
    return _carry_out(at, entry)


def login() -> str:
    """Who is at work here, by the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"


def _verdict(at: Desk, contest: Contest, key: str, compare: bool) -> Verdict:
    against = contest.champion if compare else None
    ended = _test(at, "score", contest.candidate, *(() if against is None else ("--against", str(against))))
    if ended.code == UNFIT:
        return unfit("loads", _reason(ended))
    if ended.code == CHAMPION_UNFIT:
        hint = "--no-compare promotes by floor and latency alone, rollback goes back"
        return unfit("champion", f"{_reason(ended)}; {hint}")
    candidate = read_scores(at.name, contest.candidate, contest.data, contest.candidate_model)
    champion = read_scores(at.name, against, contest.data, contest.champion_model or "") if against else None
    if candidate is None or (against and champion is None):
        raise NotDone(f"{at.name}: the evaluation data or code changed while it was scored; promote again")
    return judge(at.gates, key, candidate, champion)


def _must_answer(at: Desk, version: int) -> None:
    ended = _test(at, "check", version)
    if ended.code == UNFIT:
        raise NotDone(f"{at.name}: {_reason(ended)}; nothing was changed")


def _test(at: Desk, what: Literal["check", "score"], version: int, *more: str) -> Ended:
    """Put the version to the test, in a process of its own: shipped code runs there."""
    command = [sys.executable, "-m", "components.registry.promotion", what, at.run, str(version), *more]
    timeout = at.project.params.pipeline.stage_timeout
    env = for_children(at.project)
    ended = Processes().run(command, folder=at.project.folder, env=env, log=at.log, timeout=timeout)
    if ended.timed_out:
        raise NotDone(f"{at.name}: the test of version {version} ran past {timeout:g} s (pipeline.stage_timeout)")
    if ended.code not in (0, UNFIT, CHAMPION_UNFIT):
        told = next((line for line in ended.tail if line.startswith("error: ")), ended.tail[-1] if ended.tail else "no word")
        raise NotDone(f"{at.name}: the test of version {version} ended with code {ended.code}: {told.removeprefix('error: ')}")
    return ended


def _reason(ended: Ended) -> str:
    found = [line.removeprefix(UNFIT_WORD) for line in ended.tail if line.startswith(UNFIT_WORD)]
    return found[-1] if found else "no reason was given"


def _carry_out(at: Desk, entry: Entry) -> Outcome:
    decide(at.client, entry)
    return Outcome(_words(entry), entry)


def _words(entry: Entry) -> str:
    version = f"{entry.name}: version {entry.version}"
    if entry.moves:
        before = "the first one" if entry.before is None else f"it was version {entry.before}"
        return f"{version} is the champion now ({entry.action} by {entry.by}); {before}"
    return {
        "refused": f"{version} is not promoted: {entry.reason}",
        "rejected": f"{version} is not promoted: rejected by {entry.by}" + (f": {entry.comment}" if entry.comment else ""),
        "approval requested": f"{version} passed all gates and waits for approval until {entry.expires}",
    }[entry.action]


Decide = Callable[[Desk], Outcome]
DecideVersion = Callable[[Desk, int | None, str, str], Outcome]  # desk, version, by, comment
