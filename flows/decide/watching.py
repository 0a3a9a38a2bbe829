"""The watch over a promotion as a decision: return to the old champion if the new one does worse in service."""

from __future__ import annotations

from components.registry.watch.returning import returned, see
from flows.decide.decisions import Decision, DecisionContext, carry_out, must_answer
from flows.services.running import given_up


def look(context: DecisionContext) -> Decision:
    """Return what is seen, and the decision if the champion was taken back. NotDone if the old one does not answer any more."""
    gates = context.gates
    sight = see(context.client, context.name, gates.watch_hours, gates.watch_alarm, given_up(context.name))
    for line in sight.lines:
        context.log(str(line))
    if not sight.alarm:
        return Decision(sight.words)
    entry = returned(sight)
    must_answer(context, entry.version)
    return carry_out(context, entry)
