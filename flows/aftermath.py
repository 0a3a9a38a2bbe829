"""What follows a decision: the scoring server takes the new champion, people are told. Neither can undo the decision."""

from __future__ import annotations

from flows.decisions import Outcome
from flows.notify import notify_promotion
from flows.processes import Log
from flows.project import Project
from flows.running import restart_scoring


def make_known(project: Project, outcome: Outcome, log: Log) -> None:
    """Restart the scoring server that ``up`` keeps for the model, if it does; notify. A failure is a line of the log."""
    entry = outcome.entry
    assert entry is not None
    if entry.moves:
        try:
            served = restart_scoring(entry.name)
        except OSError as error:
            served = f"the scoring server could not be told ({error}); `python -m flows down` and `up` restart it"
        log(f"served: {served or 'by no server of `python -m flows up`; one of your own must be restarted'}")
    if entry.moves or entry.action in ("refused", "approval requested"):
        lines = [f"{'passed' if line['passed'] else 'FAILED'} {line['gate']}: {line['words']}" for line in entry.verdict]
        text = "\n".join([outcome.words, *lines, *([f"comment: {entry.comment}"] if entry.comment else [])])
        notify_promotion(project, f"{entry.name}: version {entry.version} {entry.action}", text)
