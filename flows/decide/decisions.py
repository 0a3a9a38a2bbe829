"""Promotion, approval, rejection and rollback, each as one atomic decision.

Does not import Prefect, so that a rollback works without a server; ``flows.decide.flows`` wraps them in flows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.core.config.strict import SettingsError, must_exist
from components.core.settings import ROOT
from components.registry.promotion import CHAMPION_UNFIT, UNFIT, UNFIT_WORD
from components.registry.promotion.approval import answer, check_unchanged, find_request, require_second_person
from components.registry.promotion.audit import Entry
from components.registry.promotion.contest import Contest, decision, find_contest, roll_back, rolled_back_from
from components.registry.promotion.gates import Gates
from components.registry.promotion.journal import NotDone, complete, decide, deciding
from components.registry.promotion.scores import data_key, read_scores
from components.registry.promotion.verdict import Verdict, judge, unfit
from components.registry.tracking import connect, login, reachable
from flows.processes import Ended, Log, Processes
from flows.project import Project, for_children
from flows.services.notify import notify_promotion, notify_return
from flows.services.running import restart_scoring

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Decision:
    """Result of a decision as a message; ``entry``: its audit entry, None if there was nothing to decide."""

    words: str
    entry: Entry | None = None

    @property
    def refused(self) -> bool:
        """Whether a gate failed."""
        return self.entry is not None and self.entry.action == "refused"


@dataclass(frozen=True)
class DecisionContext:
    """Context of a decision about one run; ``client``: of the tracking server."""

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


Decide = Callable[[DecisionContext], Decision]
DecideVersion = Callable[[DecisionContext, int | None, str, str], Decision]  # context, version, by, comment


def project_at(folder: str | None, study: str | None, run: str) -> Project:
    """Return the workspace; SettingsError if there is no such folder, study or run."""
    project = Project(Path(folder or ROOT).resolve(), study)
    must_exist(run, project.params.runs, "run")
    return project


@contextmanager
def decision_context(project: Project, run: str, log: Log) -> Iterator[DecisionContext]:
    """Wait for other decisions about the run, complete an interrupted one, then yield the context."""
    name = project.workspace.registered_name(run)
    with reachable(), deciding(name):
        context = DecisionContext(project, run, connect(), log)
        if entry := complete(context.client, name):
            log(f"completed what was left half done: version {entry.version} {entry.action} by {entry.by} at {entry.time}")
        yield context


def promote(context: DecisionContext, by: str, comment: str, compare: bool) -> Decision:
    """Score candidate and champion, apply the gates, and carry out the decision. NotDone if there is nothing to compare.

    Without ``compare`` the champion is not scored, e.g. because today's data have a new class.
    """
    key = f"runs.{context.run}.promote"
    context.gates.must_decide(key)
    if not compare and not comment:
        raise SettingsError("--no-compare skips the champion: say why with --comment")
    workspace = context.project.workspace
    contest = find_contest(context.client, workspace, context.run, data_key(workspace, context.run))
    if contest.settled:
        return Decision(f"{context.name}: version {contest.candidate} is the champion already")
    if not comment and (undone := rolled_back_from(context.client, contest)):
        history = f"was rolled back by {undone.by} at {undone.time}" + (f" ({undone.comment})" if undone.comment else "")
        raise NotDone(f"{context.name}: version {contest.candidate} {history}; to promote it again, say why with --comment")
    verdict = _verdict(context, contest, key, compare)
    for line in verdict.lines:
        context.log(str(line))
    entry = decision(contest, context.gates, verdict, by or login(), comment)
    check_unchanged(context.client, entry, None)  # scoring takes a while
    return carry_out(context, entry)


def approve(context: DecisionContext, version: int | None, by: str, comment: str) -> Decision:
    """Promote the version that waits for approval, if version, champion and data are unchanged since its scoring."""
    request = find_request(context.client, context.name, version)
    if context.gates.second_person:
        require_second_person(context.client, request, by or login())
    check_unchanged(context.client, request, data_key(context.project.workspace, context.run))
    must_answer(context, request.version)
    return carry_out(context, answer(context.client, request, "approved", by or login(), comment))


def reject(context: DecisionContext, version: int | None, by: str, comment: str) -> Decision:
    """Reject the request for approval."""
    request = find_request(context.client, context.name, version)
    return carry_out(context, answer(context.client, request, "rejected", by or login(), comment))


def rollback(context: DecisionContext, version: int | None, by: str, comment: str) -> Decision:
    """Make the previous champion, or ``version``, the champion again, after a check that it still loads and predicts."""
    entry = roll_back(context.client, context.name, version, by or login(), comment)
    must_answer(context, entry.version)
    return carry_out(context, entry)


def _verdict(context: DecisionContext, contest: Contest, key: str, compare: bool) -> Verdict:
    against = contest.champion if compare else None
    ended = _test(context, "score", contest.candidate, *(() if against is None else ("--against", str(against))))
    if ended.code == UNFIT:
        return unfit("loads", _reason(ended))
    if ended.code == CHAMPION_UNFIT:
        hint = "--no-compare promotes by floor and latency alone, rollback goes back"
        return unfit("champion", f"{_reason(ended)}; {hint}")
    candidate = read_scores(context.name, contest.candidate, contest.data, contest.candidate_model)
    champion = read_scores(context.name, against, contest.data, contest.champion_model or "") if against else None
    if candidate is None or (against and champion is None):
        raise NotDone(f"{context.name}: the evaluation data or code changed while it was scored; promote again")
    return judge(context.gates, key, candidate, champion)


def must_answer(context: DecisionContext, version: int) -> None:
    """Raise NotDone unless the version still loads and answers."""
    ended = _test(context, "check", version)
    if ended.code == UNFIT:
        raise NotDone(f"{context.name}: {_reason(ended)}; nothing was changed")


def _test(context: DecisionContext, what: Literal["check", "score"], version: int, *more: str) -> Ended:
    """Test the version in a separate process, which runs its shipped code."""
    command = [sys.executable, "-m", "components.registry.promotion", what, context.run, str(version), *more]
    timeout = context.project.params.pipeline.stage_timeout
    env = for_children(context.project)
    ended = Processes().run(command, folder=context.project.folder, env=env, log=context.log, timeout=timeout)
    if ended.timed_out:
        raise NotDone(f"{context.name}: the test of version {version} ran past {timeout:g} s (pipeline.stage_timeout)")
    if ended.code not in (0, UNFIT, CHAMPION_UNFIT):
        raise NotDone(f"{context.name}: the test of version {version} ended with code {ended.code}: {ended.error}")
    return ended


def _reason(ended: Ended) -> str:
    reasons = [line.removeprefix(UNFIT_WORD) for line in ended.tail if line.startswith(UNFIT_WORD)]
    return reasons[-1] if reasons else "no reason was given"


def carry_out(context: DecisionContext, entry: Entry) -> Decision:
    """Carry out the decision by the journal."""
    decide(context.client, entry)
    return Decision(_words(entry), entry)


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


def announce(project: Project, result: Decision, log: Log) -> None:
    """Reload the scoring server of ``up``, if any, and send notifications. Failures are only logged."""
    entry = result.entry
    assert entry is not None
    if entry.moves:
        try:
            served = restart_scoring(entry.name)
        except OSError as error:
            served = f"the scoring server could not be reached ({error}); `python -m flows down` and `up` restart it"
        log(f"served: {served or 'by no server of `python -m flows up`; one of your own must be restarted'}")
    if entry.moves or entry.action in ("refused", "approval requested"):
        send = notify_return if entry.action == "returned" else notify_promotion
        lines = [f"{'passed' if line['passed'] else 'FAILED'} {line['gate']}: {line['words']}" for line in entry.verdict]
        text = "\n".join([result.words, *lines, *([f"comment: {entry.comment}"] if entry.comment else [])])
        send(project, f"{entry.name}: version {entry.version} {entry.action}", text)
