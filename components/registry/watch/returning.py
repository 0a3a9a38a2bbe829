"""The watch over a promotion: whether there is one, what it sees, and the decision to return to the champion before.

There is one return per promotion: what the monitor has returned to was not promoted, so it is not watched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import settings
from components.core.files import read_json, write_json
from components.registry import model_registry as registry
from components.registry.promotion.audit import BACK, COMMENT, Entry, now
from components.registry.promotion.foreign import last_move
from components.registry.promotion.gates import GateResult
from components.registry.promotion.verdict import finite
from components.registry.watch.comparison import compare, look_of, requests_for
from components.registry.watch.traffic import Traffic, read_traffic

if TYPE_CHECKING:
    from mlflow import MlflowClient

MONITOR = "monitor"  # who returns
BEFORE = timedelta(days=7)  # of the old champion's traffic that is compared


@dataclass(frozen=True)
class Sight:
    """What a look at a promotion shows. ``words``: for the log; ``promotion``: None if nothing is watched.

    ``lines``: the comparisons, if there was reason to make them.
    """

    words: str
    promotion: Entry | None = None
    lines: tuple[GateResult, ...] = ()

    @property
    def alarm(self) -> bool:
        """Whether the new champion does worse."""
        return any(not line.passed for line in self.lines)


def watched_promotion(client: MlflowClient, name: str, hours: float) -> tuple[Entry | None, str]:
    """Return the promotion that is being watched, or None and why there is none."""
    last = last_move(registry.versions(client, name))
    if last is None:
        return None, f"{name}: nothing to watch: it has no champion yet"
    version = f"{name}: version {last.after}"
    if registry.aliases(client, name).get("champion") != last.after:
        return None, f"{version} is not watched: the alias champion was moved without a decision"
    if last.action in BACK:
        return None, f"{version} is not watched: it was {last.action} by {last.by} at {last.time}"
    if last.before is None:
        return None, f"{version} is not watched: it is the first champion, there is none to return to"
    if last.age() >= hours:
        return None, f"{version} is watched no more: {hours:g} h have passed since {last.time}"
    return last, ""


def see(client: MlflowClient, name: str, hours: float, alarm: float, gave_up: str = "") -> Sight:
    """Look at the promotion of the champion. ``gave_up``: why its scoring server does not load it, if it gave up."""
    entry, why = watched_promotion(client, name, hours)
    if entry is None:
        return Sight(why)
    if gave_up:
        return Sight("", entry, (GateResult("loads", False, f"the scoring server gave up: {gave_up}", {}),))
    old, new = (traffic_of(client, entry, number) for number in (entry.before, entry.after))
    version, look = f"{name}: version {entry.after}", look_of(new.requests)
    if look is None:
        few = f"{new.requests} requests since {entry.time} on this machine, {requests_for(0)} are needed"
        return Sight(f"{version} is not compared with version {entry.before} yet: {few}", entry)
    if look <= last_look(entry):
        later = f"{new.requests} requests, the next comparison is at {requests_for(last_look(entry) + 1)}"
        return Sight(f"{version} does no worse than version {entry.before} so far ({later})", entry)
    sight = Sight("", entry, tuple(compare(old, new, alarm, look)))
    if not sight.alarm:  # else the return ends the watch; one that was killed looks again
        note_look(entry, look)
    return replace(sight, words=f"{version}: " + "; ".join(f"{line.gate}: {line.words}" for line in sight.lines))


def traffic_of(client: MlflowClient, entry: Entry, number: int | None) -> Traffic:
    """Return what was answered with the new champion since its promotion, or with the old one in the week before it."""
    at = datetime.fromisoformat(entry.time)
    since, until = (at, now()) if number == entry.after else (at - BEFORE, at)
    key = str(client.get_model_version(entry.name, str(number)).tags.get(registry.KEY, ""))
    return read_traffic(entry.name, int(number or 0), key, since, until)


def returned(sight: Sight) -> Entry:
    """Return the decision to make the champion before the promotion the champion again."""
    promotion = sight.promotion
    assert promotion is not None
    assert promotion.before is not None
    failed = [line for line in sight.lines if not line.passed]
    return Entry(
        action="returned",
        name=promotion.name,
        version=promotion.before,
        by=MONITOR,
        comment="; ".join(f"{line.gate}: {line.words}" for line in failed)[:COMMENT],
        before=promotion.after,
        after=promotion.before,
        previous=promotion.after,
        figures=finite({f"{line.gate} {name}": value for line in failed for name, value in line.figures.items()}),
        verdict=[{"gate": line.gate, "passed": line.passed, "words": line.words, "figures": {}} for line in sight.lines],
        request=promotion.id,
    )


def last_look(promotion: Entry) -> int:
    """Return the number of the last look at the promotion, -1 if there was none."""
    content = read_json(_looks(promotion.name))
    return int(content["look"]) if content.get("promotion") == promotion.id else -1


def note_look(promotion: Entry, look: int) -> None:
    """Note the look: each spends a part of the false-alarm rate, once."""
    write_json(_looks(promotion.name), {"promotion": promotion.id, "look": look})


def _looks(name: str) -> Path:
    return settings.WORK / "traffic" / f"{name}.json"
