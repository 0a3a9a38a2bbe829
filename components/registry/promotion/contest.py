"""Candidate against champion: versions, exports and data of a comparison, and the decision that follows from its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.promotion.audit import BACK, Entry, expiry
from components.registry.promotion.foreign import require_champion
from components.registry.promotion.gates import Gates
from components.registry.promotion.journal import CHAMPION_SINCE, NotDone, decisions
from components.registry.promotion.verdict import Verdict, finite
from components.registry.record.dvc_lock import export_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

BY = 100  # characters


@dataclass(frozen=True)
class Contest:
    """A comparison: version numbers and the keys of their exports; ``data``: ``data_key`` of the evaluation."""

    name: str
    data: str
    candidate: int
    candidate_model: str
    champion: int | None
    champion_model: str | None
    previous: int | None

    @property
    def settled(self) -> bool:
        """Whether the candidate is already the champion."""
        return self.candidate == self.champion


def find_contest(client: MlflowClient, workspace: Workspace, run: str, data: str) -> Contest:
    """Return the comparison for the run's outputs.

    Raise NotDone if they are not the version with the alias ``candidate``, or the champion's alias was deleted.
    """
    name, key = workspace.registered_name(run), export_key(workspace, run)
    require_champion(client, name)
    aliases = registry.aliases(client, name)
    known = {int(version.version): version for version in registry.versions(client, name)}
    exported = next((number for number, version in known.items() if version.tags.get(registry.KEY) == key), None)
    candidate = known.get(aliases.get("candidate", 0))
    where = f"outputs/export/{run}"
    if exported is None or candidate is None:
        raise NotDone(f"{name}: {where} is not published yet; `python -m flows run --runs {run}` publishes it")
    if exported != int(candidate.version):
        raise NotDone(
            f"{name}: the candidate is version {candidate.version}, but {where} is version {exported}: another machine or"
            f" commit published after it; `python -m flows run --runs {run}` makes what lies here the candidate"
        )
    champion = known.get(aliases.get("champion", 0))
    return Contest(
        name=name,
        data=data,
        candidate=exported,
        candidate_model=key,
        champion=int(champion.version) if champion else None,
        champion_model=_model(champion) if champion else None,
        previous=aliases.get("previous"),
    )


def decision(contest: Contest, gates: Gates, verdict: Verdict, by: str, comment: str) -> Entry:
    """Return the decision that follows from the verdict: refused, promoted, or a request for approval."""
    needs_approval = verdict.passed and bool(gates.approval)
    is_promoted = verdict.passed and not gates.approval
    return Entry(
        action="approval requested" if needs_approval else "promoted" if is_promoted else "refused",
        name=contest.name,
        version=contest.candidate,
        by=plain(by)[:BY],
        comment=plain(comment),
        before=contest.champion,
        after=contest.candidate if is_promoted else contest.champion,
        previous=contest.champion if is_promoted else contest.previous,
        data=contest.data,
        figures=finite(verdict.figures),
        verdict=verdict.to_json(),
        expires=expiry(gates.approval_hours) if needs_approval else None,
    )


def roll_back(client: MlflowClient, name: str, version: int | None, by: str, comment: str) -> Entry:
    """Return the decision to make ``version``, or the alias ``previous``, the champion again.

    Raise NotDone unless that version was champion before: no other has passed the gates.
    """
    require_champion(client, name)
    aliases = registry.aliases(client, name)
    champion, target = aliases.get("champion"), version if version is not None else aliases.get("previous")
    if champion is None:
        raise NotDone(f"{name}: nothing to roll back: it has no champion")
    if target is None:
        raise NotDone(f"{name}: nothing to roll back to: version {champion} is its first champion")
    known = registry.versions(client, name)
    former = [int(v.version) for v in known if CHAMPION_SINCE in v.tags or int(v.version) == aliases.get("previous")]
    if target == champion:
        raise NotDone(f"{name}: version {target} is the champion already")
    if target not in former:
        there = ", ".join(str(number) for number in former if number != champion) or "none"
        raise NotDone(f"{name}: version {target} was never its champion; versions to go back to: {there}")
    return Entry(
        action="rolled back",
        name=name,
        version=target,
        by=plain(by)[:BY],
        comment=plain(comment),
        before=champion,
        after=target,
        previous=champion,
    )


def rolled_back_from(client: MlflowClient, contest: Contest) -> Entry | None:
    """Return the rollback by which the present champion replaced the candidate, if there was one."""
    if contest.champion is None:
        return None
    history = decisions(client.get_model_version(contest.name, str(contest.champion)).tags)
    last = next((entry for entry in reversed(history) if entry.moves), None)
    return last if last and last.action in BACK and last.before == contest.candidate else None


def plain(text: str) -> str:
    """Reduce the text to one line of printable characters."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _model(version: ModelVersion) -> str:
    return str(version.tags.get(registry.KEY, ""))
