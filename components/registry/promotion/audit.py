"""Audit log of decisions: one line per decision in ``.work/audit.jsonl``, and one tag on the version concerned."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.files import locked

# "returned": rolled back by the monitor; "foreign move": an alias that others moved, as it was found.
Action = Literal["promoted", "refused", "approval requested", "approved", "rejected", "rolled back", "returned", "foreign move"]
BACK = ("rolled back", "returned")  # the actions that make a former champion the champion again
MOVES = ("promoted", "approved", *BACK)  # the actions that make the version the champion
COMMENT = 1000  # characters; the whole entry must fit into a tag of a registered model, which holds 5,000
ENTRY = 5000


def new_id() -> str:
    """Return a unique id."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Entry:
    """An audit entry: who decided what, when (UTC), why, on which figures. ``before``, ``after``: the champion's version.

    ``previous``: new version of the alias ``previous``. ``expires``: expiry of a request for approval; ``request``: id of the
    request that was approved or rejected. ``data``: ``data_key`` of the scores.
    """

    action: Action
    name: str
    version: int
    by: str
    comment: str
    before: int | None
    after: int | None
    previous: int | None
    data: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    verdict: list[dict[str, Any]] = field(default_factory=list)
    expires: str | None = None
    request: str | None = None
    time: str = field(default_factory=lambda: now().isoformat())
    id: str = field(default_factory=new_id)

    def to_json(self) -> str:
        """Serialise to one line; SettingsError if it does not fit into a tag."""
        text = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)
        if len(self.comment) > COMMENT or len(text) > ENTRY:
            raise SettingsError(f"comment: {len(self.comment)} characters are too many; at most {COMMENT}")
        return text

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """Parse ``to_json``'s output; ValueError if ``text`` is not an entry."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no audit entry: {error}") from None

    @property
    def moves(self) -> bool:
        """Whether the version became the champion."""
        return self.action in MOVES

    @property
    def reason(self) -> str:
        """The failed gates, in one line."""
        return "; ".join(f"{line['gate']}: {line['words']}" for line in self.verdict if not line["passed"])

    def age(self) -> float:
        """Return the hours since the decision."""
        return (now() - datetime.fromisoformat(self.time)).total_seconds() / 3600

    def later(self, hours: float) -> str:
        """Return the time so many hours after the decision."""
        return (datetime.fromisoformat(self.time) + timedelta(hours=hours)).replace(microsecond=0).isoformat()

    def expired(self) -> bool:
        """Whether a request for approval has expired."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now()


def now() -> datetime:
    """Return the current time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def expiry(hours: float) -> str:
    """Return the time ``hours`` from now."""
    return (now() + timedelta(hours=hours)).isoformat()


def audit_file() -> Path:
    """Return the path of the audit log, one line per decision completed on this machine."""
    return settings.WORK / "audit.jsonl"


def append(entry: Entry) -> None:
    """Append the entry to the log, unless it is there already, and flush it to disk.

    An incomplete last line, left by a process killed while writing, is dropped; its entry is still in the journal.
    """
    path = audit_file()
    with locked(settings.WORK / "locks" / "audit"):
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        whole = sum(len(line) for line in lines if line.endswith(b"\n"))
        if entry.id in {known.id for known in _entries(lines)}:
            return
        with path.open("r+b" if path.is_file() else "w+b") as file:
            file.truncate(whole)
            file.seek(whole)
            file.write(entry.to_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def entries(name: str | None = None) -> list[Entry]:
    """Return this machine's decisions (about one registered model), in order; skip lines that are not entries."""
    path = audit_file()
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return [entry for entry in _entries(lines) if name in (None, entry.name)]


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    for line in lines:
        try:
            yield Entry.from_json(line.decode())
        except ValueError:
            continue
